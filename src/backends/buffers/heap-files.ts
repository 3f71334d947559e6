import { readFileSync } from 'node:fs'
import { Mapping } from '../../host/linux/mapping.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { FallocateMode, fallocate } from '../../host/linux/posix.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import { HEAP_PAGE, type HeapMemory } from '../../services/heap-memory.ts'

/** Size in bytes of the huge pages that a heap may use. */
export const HUGE_PAGE = 2 << 20

const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB'

/** The system has too few huge pages for a heap; the message contains the remedy. */
class HeapFilesError extends Error {
  override readonly name = 'HeapFilesError'
}

/**
 * Memory of a graphics heap, in files that other processes map. Ordinary pages are allocated when they are touched, and
 * freed when they are discarded; huge pages are allocated at creation.
 *
 * The store is a file of its own, of ordinary pages, which no monitor maps.
 */
export class HeapFiles implements HeapMemory {
  static readonly MIN_BYTES = 1 << 20
  /** Limit of one memory region. */
  static readonly MAX_BYTES = 1 << 30

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
   * @param size of the window in bytes: whole megabytes from `MIN_BYTES` to `MAX_BYTES`, and whole pages
   * @param pageSize `HEAP_PAGE`, the default, or `HUGE_PAGE`
   * @throws {HeapFilesError} if there are too few huge pages
   * @throws {SystemCallError}
   */
  static create(size: number, pageSize: number = HEAP_PAGE): HeapFiles {
    const hugePage = pageSize > HEAP_PAGE ? pageSize : undefined
    const window = map('graphics heap', size, hugePage)
    try {
      return new HeapFiles([window, map('graphics heap, store', size)], pageSize)
    } catch (error) {
      window.close()
      throw error
    }
  }

  /**
   * Discards ordinary pages: a consumer that maps one keeps it, and no other process sees it again. Huge pages are
   * overwritten instead: another process could take a discarded page, and touching it would then end this process with
   * SIGBUS.
   */
  discard(region: MemoryRegion, offset: number, length: number): void {
    if (region === this.window && this.pageSize > HEAP_PAGE) {
      region.u8.fill(0, offset, offset + length)
      return
    }
    try {
      const { fd, offset: start } = region.backing ?? { fd: -1, offset: 0 }
      const mode = FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE
      fallocate('discarding a range of the graphics heap', fd, mode, start + offset, length)
    } catch {
      // The pages stay, and their contents are cleared.
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
  if (Number.isNaN(free)) return `this kernel has no huge pages of 2 MiB: use ordinary pages (${error.message})`
  if (free >= wanted) return error.message
  const remedy = `as root, write ${all + wanted - free} to ${POOL}/nr_hugepages`
  return `the graphics heap needs ${wanted} huge pages of 2 MiB, of which ${free} are free: ${remedy}`
}

function poolNumber(name: string): number {
  try {
    return Number(readFileSync(`${POOL}/${name}`, 'latin1'))
  } catch {
    return Number.NaN
  }
}
