/** Why memory does not become a dma-buf. */
export const UdmabufProblem = {
  /** There is no driver, or no device file. */
  NO_DEVICE: 'no-device',
  /** The device file is not for this user. */
  NO_PERMISSION: 'no-permission',
  /** No bytes at all. */
  EMPTY: 'empty',
  /** Memory with no file behind it, as that of an emulator in this process. */
  NO_FILE: 'no-file',
  /** The file is none of memory, or is closed. */
  NOT_MEMORY_FILE: 'not-memory-file',
  /** A piece that does not begin and end at whole pages. */
  UNALIGNED: 'unaligned',
  /** A piece that ends behind its file. */
  BEYOND_FILE: 'beyond-file',
  /** The file may be shrunk, which would take pages away from whoever imported them. */
  NOT_SEALED: 'not-sealed',
  /** The file is sealed against writing, and a dma-buf is written. */
  WRITE_SEALED: 'write-sealed',
  TOO_MANY_PIECES: 'too-many-pieces',
  TOO_LARGE: 'too-large',
  /** This process has no number left for another descriptor. */
  NO_DESCRIPTOR: 'no-descriptor',
  NO_MEMORY: 'no-memory',
  /** The kernel refused, for a reason that is none of these. */
  REFUSED: 'refused',
} as const
export type UdmabufProblem = (typeof UdmabufProblem)[keyof typeof UdmabufProblem]

/** A dma-buf, or a view in its place, that cannot be made. Its message says what is wrong, and how to mend it. */
export class UdmabufError extends Error {
  override readonly name = 'UdmabufError'

  constructor(
    readonly problem: UdmabufProblem,
    readonly what: string,
    readonly remedy: string,
    options?: ErrorOptions,
  ) {
    super(`${what}: ${remedy}`, options)
  }
}
