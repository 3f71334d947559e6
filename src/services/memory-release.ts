import type { SpanList } from '../memory/span-list.ts'

/** Returns memory of a guest to the host. */
export interface MemoryRelease {
  /**
   * Returns the pages of the spans to the host, within the call. The guest then reads zeroes there, or the old content if the
   * host kept the page, and gets a new page when it writes. Parts of pages stay as they are.
   * @returns number of bytes that were returned to the host
   */
  release(spans: SpanList): number
  /** State for the inspector. */
  inspect(): Record<string, unknown>
}
