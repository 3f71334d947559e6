import type { SpanList } from '../memory/span-list.ts'

/** Unit of a disk's size and of its addresses, whatever its blocks. @virtio 5.2.4 */
export const SECTOR_BYTES = 512

/**
 * What a block device needs from its host: an array of bytes that stays. Sizes of the host's blocks are not part of it,
 * since a guest writes what it finds there into its partition tables and file systems: a disk takes requests in multiples
 * of 512 bytes, whatever its host wants.
 *
 * Nothing here throws because of a request: what goes wrong is told to the request's `complete`.
 */
export interface Disk {
  /** Its size, a multiple of 512. After a change, `BlockDevice.resize` tells the driver. */
  readonly byteLength: number
  readonly readOnly: boolean
  /** Whether it can give up ranges nobody needs. */
  readonly canDiscard: boolean
  /** Starts a request, which is within the disk and, unless it only reads or flushes, never for a read-only one. */
  submit(request: DiskRequest): void
  /** Writes down what is not yet, and lets go. Called once nothing is in flight. */
  close(): void | Promise<void>
  /** State worth seeing while debugging, as plain JSON values. */
  inspect?(): Record<string, unknown>
}

export const DiskOp = {
  READ: 'read',
  WRITE: 'write',
  FLUSH: 'flush',
  DISCARD: 'discard',
  WRITE_ZEROES: 'write zeroes',
} as const
export type DiskOp = (typeof DiskOp)[keyof typeof DiskOp]

/**
 * One request to a disk. It belongs to the device, which uses it again: a disk holds it from `submit` until it calls
 * `complete`, no longer.
 */
export interface DiskRequest {
  /**
   * FLUSH: what was completed before is on stable storage when this completes. DISCARD: the range is no longer needed.
   * WRITE_ZEROES: the range reads as zeroes from then on.
   */
  readonly op: DiskOp
  /** First byte on the disk, a multiple of 512. */
  readonly offset: number
  /** Bytes, a multiple of 512; 0 for FLUSH. */
  readonly length: number
  /** WRITE_ZEROES: the disk may deallocate the range. */
  readonly mayUnmap: boolean
  /** Guest memory to fill (READ) or to take from (WRITE): `length` bytes in all. Empty for the others. */
  readonly data: SpanList
  /**
   * To be called once, within `submit` or later, in any order.
   * @param failure what went wrong, for people; undefined where all was done
   */
  complete(failure?: string): void
}
