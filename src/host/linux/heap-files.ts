import type { HeapMemory } from '../../devices/gpu/heap.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import { FallocateMode, fallocate } from './fallocate.ts'
import { Mapping } from './mapping.ts'
import { MemoryFile } from './memory-file.ts'

/**
 * Memory for a graphics heap, in files that other processes map: pages exist once somebody touches them, and go when they
 * are discarded.
 */
export class HeapFiles implements HeapMemory {
  static readonly LEAST = 1 << 20
  /** One region reaches this far. */
  static readonly MOST = 1 << 30

  readonly window: MemoryRegion
  readonly store: MemoryRegion
  readonly #mappings: readonly Mapping[]

  private constructor(mappings: readonly [window: Mapping, store: Mapping]) {
    const [[window], [store]] = [mappings[0].regions(0), mappings[1].regions(0)]
    this.window = window
    this.store = store
    this.#mappings = mappings
  }

  /**
   * @param size of the window, whole megabytes from `LEAST` to `MOST`
   * @throws {SystemCallError}
   */
  static create(size: number): HeapFiles {
    const window = map('graphics heap', size)
    try {
      return new HeapFiles([window, map('graphics heap, out of the window', size)])
    } catch (error) {
      window.close()
      throw error
    }
  }

  /** Whoever still has such a page mapped keeps it, and nobody else gets to see it. */
  discard(region: MemoryRegion, offset: number, length: number): void {
    try {
      const { fd, offset: start } = region.backing ?? { fd: -1, offset: 0 }
      const mode = FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE
      fallocate('emptying a part of the graphics heap', fd, mode, start + offset, length)
    } catch {
      // Then the pages stay; what was in them does not.
      region.u8.fill(0, offset, offset + length)
    }
  }

  close(): void {
    for (const mapping of this.#mappings) mapping.close()
  }
}

function map(name: string, size: number): Mapping {
  return Mapping.of(MemoryFile.create(name, size).descriptor, { offset: 0, length: size })
}
