import { MemoryRegion } from '../../../../memory/memory-region.ts'
import type { HeapMemory } from '../../../../services/heap-memory.ts'

/** Memory of a heap in this process. Records what is discarded. */
export class MemoryHeap implements HeapMemory {
  readonly window: MemoryRegion
  readonly store: MemoryRegion
  /** Discarded ranges, in order. */
  readonly discarded: { readonly where: 'window' | 'store'; readonly offset: number; readonly length: number }[] = []

  constructor(size: number, storeSize = size) {
    this.window = MemoryRegion.over(0, new Uint8Array(size))
    this.store = MemoryRegion.over(0, new Uint8Array(storeSize))
  }

  discard(region: MemoryRegion, offset: number, length: number): void {
    this.discarded.push({ where: region === this.window ? 'window' : 'store', offset, length })
    region.u8.fill(0, offset, offset + length)
  }
}
