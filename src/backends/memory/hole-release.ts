import { statfsSync } from 'node:fs'
import { pageSize } from '../../host/linux/address-space.ts'
import { FallocateMode, fallocate } from '../../host/linux/posix.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import type { SpanList } from '../../memory/span-list.ts'
import type { MemoryRelease } from '../../services/memory-release.ts'

/** Magic number of the file system of huge pages. */
const HUGETLBFS_MAGIC = 0x9584_58f6
const PUNCH = FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE

/**
 * Returns guest memory to the host by holes in its memory file, which free the pages for all processes that map the file.
 *
 *     const memory = new HoleRelease((line) => log(line))
 *     memory.release(spans)                  // one fallocate(2) for spans that are adjacent in the file
 *
 * A page that the kernel holds for another user, such as a dma-buf or a registered buffer, stays with that user. The file
 * gets a new page, so the user no longer sees what the guest writes.
 */
export class HoleRelease implements MemoryRelease {
  readonly #log: (line: string) => void
  /** Size of the pages of each region's file, in bytes. */
  readonly #pages = new WeakMap<MemoryRegion, number>()
  readonly #logged = new Set<string>()
  #holes = 0
  #bytes = 0
  /** Bytes that the host kept. */
  #kept = 0

  /** @param log receives one line for each reason to keep memory */
  constructor(log: (line: string) => void) {
    this.#log = log
  }

  release({ count, regions, offsets, lengths }: SpanList): number {
    const before = this.#bytes
    for (let i = 0; i < count; ) {
      const region = regions[i]
      const { backing } = region
      if (!backing) {
        this.#keep(lengths[i], 'guest memory has no file: share it (memory-backend-memfd, share=on)')
        i++
        continue
      }
      const { fd } = backing
      const from = backing.offset + offsets[i]
      let end = from + lengths[i]
      for (i++; i < count && regions[i].backing?.fd === fd; i++) {
        if ((regions[i].backing?.offset ?? 0) + offsets[i] !== end) break
        end += lengths[i]
      }
      this.#punch(fd, from, end, this.#pageOf(region, fd))
    }
    return this.#bytes - before
  }

  inspect(): Record<string, unknown> {
    return { method: 'holes in the memory file', holes: this.#holes, bytes: this.#bytes, kept: this.#kept }
  }

  #punch(fd: number, from: number, to: number, page: number): void {
    const start = Math.ceil(from / page) * page
    const end = Math.floor(to / page) * page
    if (end <= start) {
      this.#keep(to - from, `guest memory has pages of ${page} bytes, and only whole ones can be returned`)
      return
    }
    try {
      fallocate('returning guest memory', fd, PUNCH, start, end - start)
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error
      this.#keep(to - from, error.message)
      return
    }
    this.#holes++
    this.#bytes += end - start
    this.#kept += to - from - (end - start)
  }

  #keep(bytes: number, reason: string): void {
    this.#kept += bytes
    if (this.#logged.has(reason)) return
    this.#logged.add(reason)
    this.#log(`memory stays with the guest: ${reason}`)
  }

  #pageOf(region: MemoryRegion, fd: number): number {
    let page = this.#pages.get(region)
    if (page === undefined) {
      const { type, bsize } = statfsSync(`/proc/self/fd/${fd}`)
      page = type === HUGETLBFS_MAGIC ? bsize : pageSize()
      this.#pages.set(region, page)
    }
    return page
  }
}
