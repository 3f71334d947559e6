import { readFileSync } from 'node:fs'
import { FallocateMode, fallocate } from '../../host/linux/fallocate.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import { HEAP_PAGE, type HeapMemory } from '../../services/heap-memory.ts'

/** Huge pages that a heap may be of. */
export const HUGE_PAGE = 2 << 20

const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB'

/** A heap that the system has no pages for; says how to mend that. */
class HeapFilesError extends Error {
  override readonly name = 'HeapFilesError'
}

/**
 * Memory for a graphics heap, in files that other processes map. Ordinary pages exist once somebody touches them, and go when they
 * are discarded; huge ones are there from the beginning.
 *
 * What lost its place in the window is in a file of its own, of ordinary pages, which no monitor maps.
 */
export class HeapFiles implements HeapMemory {
  static readonly LEAST = 1 << 20
  /** One region reaches this far. */
  static readonly MOST = 1 << 30

  readonly window: MemoryRegion
  readonly store: MemoryRegion
  readonly #mappings: readonly Mapping[]

  private constructor(
    mappings: readonly [window: Mapping, store: Mapping],
    readonly pageSize: number,
  ) {
    const [[window], [store]] = [mappings[0].regions(0), mappings[1].regions(0)]
    this.window = window
    this.store = store
    this.#mappings = mappings
  }

  /**
   * @param size of the window, whole megabytes from `LEAST` to `MOST`, and whole pages
   * @param pageSize of its pages: ordinary ones, or `HUGE_PAGE`
   * @throws {HeapFilesError} where there are too few huge pages
   * @throws {SystemCallError}
   */
  static create(size: number, pageSize: number = HEAP_PAGE): HeapFiles {
    const hugePage = pageSize > HEAP_PAGE ? pageSize : undefined
    const window = map('graphics heap', size, hugePage)
    try {
      return new HeapFiles([window, map('graphics heap, out of the window', size)], pageSize)
    } catch (error) {
      window.close()
      throw error
    }
  }

  /**
   * Whoever still has an ordinary page mapped keeps it, and nobody else gets to see it. Huge ones are overwritten, since others
   * might take a page that was given up, and touching it would end the process then.
   */
  discard(region: MemoryRegion, offset: number, length: number): void {
    if (region === this.window && this.pageSize > HEAP_PAGE) {
      region.u8.fill(0, offset, offset + length)
      return
    }
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

function map(name: string, size: number, hugePage?: number): Mapping {
  return Mapping.of(createFile(name, size, hugePage).descriptor, { offset: 0, length: size })
}

function createFile(name: string, size: number, hugePage: number | undefined): MemoryFile {
  try {
    return MemoryFile.create(name, size, hugePage)
  } catch (error) {
    if (hugePage === undefined || !(error instanceof SystemCallError)) throw error
    throw new HeapFilesError(tooFew(size / hugePage, error), { cause: error })
  }
}

function tooFew(wanted: number, error: SystemCallError): string {
  const [all, unused, promised] = ['nr_hugepages', 'free_hugepages', 'resv_hugepages'].map(poolNumber)
  const free = unused - promised
  if (Number.isNaN(free)) return `this kernel has no huge pages of 2 MiB: use ordinary ones (${error.message})`
  if (free >= wanted) return error.message
  const remedy = `as root, write ${all + wanted - free} to ${POOL}/nr_hugepages`
  return `the graphics heap takes ${wanted} huge pages of 2 MiB, of which ${free} are free: ${remedy}`
}

function poolNumber(name: string): number {
  try {
    return Number(readFileSync(`${POOL}/${name}`, 'latin1'))
  } catch {
    return Number.NaN
  }
}
