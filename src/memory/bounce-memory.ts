import type { Pending } from '../pending/pending.ts'
import type { MemoryRegion } from './memory-region.ts'

/**
 * Access by message to guest memory that this process cannot map. The regions of `GuestMemory` are then local copies,
 * valid only in the ranges that were read or written.
 */
export interface BounceMemory {
  /** Reads bytes without storing them in the regions. @returns undefined if the peer refuses */
  read(address: number, length: number): Promise<Uint8Array | undefined>
  /** Sends a range of a region to the guest, with its present contents and after all earlier writes. */
  wrote(region: MemoryRegion, offset: number, length: number): void
  /** Calls `then` once all earlier writes reached the guest: within this call if they already have. */
  afterFlush(then: () => void): void
  /** Returns a wait until all earlier writes reached the guest; undefined if they already have. */
  flushed(): void | Pending
  /** Keeps microtasks running until `promise` settles. */
  run(promise: Promise<unknown>): void
}
