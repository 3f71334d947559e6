import type { Pending } from '../pending/pending.ts'
import type { MemoryRegion } from './memory-region.ts'

/**
 * What guest memory is where none of it can be mapped here: its regions are shadows, as the guest has them only where
 * something was read or written, and bytes come and go by message.
 */
export interface BounceMemory {
  /** Reads bytes, and puts them nowhere. @returns undefined where they cannot be had */
  read(address: number, length: number): Promise<Uint8Array | undefined>
  /** Part of a shadow was written: the guest gets it as it is now, after all that was written before. */
  wrote(region: MemoryRegion, offset: number, length: number): void
  /** Calls `then` when the guest has what was written so far: at once where it has. */
  after(then: () => void): void
  /** A wait for that; undefined if the guest has it already. */
  settled(): void | Pending
  /** Has a promise run. */
  settle(promise: Promise<unknown>): void
}
