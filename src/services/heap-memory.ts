import type { MemoryRegion } from '../memory/memory-region.ts'

/** Smallest page of guest and host, in bytes. */
export const HEAP_PAGE = 0x1000

/** Memory of the host for a graphics heap. All of it is zero at first. */
export interface HeapMemory {
  /** Window that the guest maps, in whole pages. The guest chooses where in it a block is mapped. */
  readonly window: MemoryRegion
  /**
   * Memory of blocks that are not in the window. As large as the window, so that blocks fit unless it is fragmented.
   */
  readonly store: MemoryRegion
  /** Alignment of blocks in bytes, a power of two. @default 4096 */
  readonly pageSize?: number
  /** Zeroes bytes, and releases their memory if the host can. */
  discard(region: MemoryRegion, offset: number, length: number): void
}
