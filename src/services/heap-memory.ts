import type { MemoryRegion } from '../memory/memory-region.ts'

/** Pages of guest and host, unless they are larger. */
export const HEAP_PAGE = 0x1000

/** Memory that the host gives a heap; all of it zero at first. */
export interface HeapMemory {
  /** What the guest sees of it, whole pages. Where in it a block is mapped, the guest chooses. */
  readonly window: MemoryRegion
  /** For blocks that have no place in the window: as large, so that they fit unless it is in pieces. */
  readonly store: MemoryRegion
  /** What places are multiples of, a power of two; 4 KiB unless told. */
  readonly pageSize?: number
  /** Makes bytes zero, and keeps no memory for them where it can do without. */
  discard(region: MemoryRegion, offset: number, length: number): void
}
