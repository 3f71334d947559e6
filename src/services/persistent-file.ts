import type { RegionBacking } from '../memory/memory-region.ts'

/** File that a guest accesses as memory. */
export interface PersistentFile {
  /** In bytes, whole pages. */
  readonly size: number
  readonly backing: RegionBacking
  /**
   * Makes all that was written to the file before the call durable.
   * @param done called once, within the call or later; false if data may be lost
   */
  flush(done: (durable: boolean) => void): void
  /** State for the inspector. */
  inspect(): Record<string, unknown>
}
