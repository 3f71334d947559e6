import type { SpanList } from '../memory/span-list.ts'

/** Unit of a disk's size and addresses, for every logical block size. @virtio 5.2.4 */
export const SECTOR_BYTES = 512

/**
 * Disk: persistent bytes behind a block device. The host's block sizes are not part of it, because a guest writes the
 * sizes that it finds into its partition tables and file systems: a disk accepts every request in multiples of 512
 * bytes.
 *
 * Nothing here throws because of a request: errors are passed to the request's `complete`.
 */
export interface Disk {
  /** Size in bytes, a multiple of 512. After a change, call `BlockDevice.resize` to notify the driver. */
  readonly byteLength: number
  readonly readOnly: boolean
  /** True if DISCARD is supported. */
  readonly canDiscard: boolean
  /** Starts a request. Its range is within the disk; a read-only disk receives only READ and FLUSH. */
  submit(request: DiskRequest): void
  /** Flushes and releases the disk. Called when nothing is in flight. */
  close(): void | Promise<void>
  /** State for debugging, as plain JSON values. */
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
 * Request to a disk. The device owns and reuses the object: a disk may hold it from `submit` until it calls `complete`.
 */
export interface DiskRequest {
  /**
   * FLUSH: requests that completed earlier are on stable storage when this one completes. DISCARD: the range is no
   * longer needed. WRITE_ZEROES: the range reads as zeroes afterwards.
   */
  readonly op: DiskOp
  /** First byte on the disk, a multiple of 512. */
  readonly offset: number
  /** Bytes, a multiple of 512; 0 for FLUSH. */
  readonly length: number
  /** WRITE_ZEROES: the disk may deallocate the range. */
  readonly mayUnmap: boolean
  /** Guest memory to fill (READ) or to read from (WRITE), `length` bytes in all. Empty for the other operations. */
  readonly data: SpanList
  /**
   * Completes the request. Called once, within `submit` or later, in any order.
   * @param failure reason in one line; undefined if the request succeeded
   */
  complete(failure?: string): void
}
