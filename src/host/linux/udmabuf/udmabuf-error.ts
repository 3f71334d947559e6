/** Reasons why memory cannot become a dma-buf. */
export const UdmabufProblem = {
  /** The driver or its device file is missing. */
  NO_DEVICE: 'no-device',
  /** This user may not open the device file. */
  NO_PERMISSION: 'no-permission',
  /** The buffer has no bytes. */
  EMPTY: 'empty',
  /** The memory has no file, like that of an emulator in this process. */
  NO_FILE: 'no-file',
  /** The file is not a memory file, or is closed. */
  NOT_MEMORY_FILE: 'not-memory-file',
  /** A piece is not whole pages. */
  UNALIGNED: 'unaligned',
  /** A piece ends past the end of its file. */
  BEYOND_FILE: 'beyond-file',
  /** The file may be shrunk, which would remove pages that importers use. */
  NOT_SEALED: 'not-sealed',
  /** The file is sealed against writing, but dma-bufs are writable. */
  WRITE_SEALED: 'write-sealed',
  TOO_MANY_PIECES: 'too-many-pieces',
  TOO_LARGE: 'too-large',
  /** This process has no free file descriptor. */
  NO_DESCRIPTOR: 'no-descriptor',
  NO_MEMORY: 'no-memory',
  /** The kernel refused for another reason. */
  REFUSED: 'refused',
} as const
export type UdmabufProblem = (typeof UdmabufProblem)[keyof typeof UdmabufProblem]

/** A dma-buf or linear view cannot be created. The message contains what is wrong and the remedy. */
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
