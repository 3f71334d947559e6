import { fstatSync, type Stats, statfsSync } from 'node:fs'
import type { SpanList } from '../../../memory/span-list.ts'
import { pageSize } from '../address-space.ts'
import type { FileExtent } from './protocol.ts'
import { UdmabufError, UdmabufProblem } from './udmabuf-error.ts'

/** Magic number of the file system of huge pages. */
const HUGETLBFS_MAGIC = 0x9584_58f6

/**
 * Returns the extents of guest memory in its memory files. Adjacent spans become one extent, also across regions of one
 * file.
 *
 *     list.locate(0, list.byteLength, spans)              // a scatter list of the guest
 *     const extents = fileExtents(spans)
 *     udmabuf.create(extents, 'scanout 0')                // or LinearView.of(extents, ...)
 *
 * Use the extents at once: the owner of the memory may close the descriptors, whose numbers are then reused.
 *
 * @throws {UdmabufError} NO_FILE, EMPTY, or UNALIGNED if an extent is not whole pages
 */
export function fileExtents({ count, regions, offsets, lengths }: SpanList): FileExtent[] {
  const extents: { fd: number; offset: number; length: number }[] = []
  for (let i = 0; i < count; i++) {
    const { base, backing } = regions[i]
    if (!backing) {
      const where = `guest memory at ${(base + offsets[i]).toString(16)} has no file`
      throw new UdmabufError(UdmabufProblem.NO_FILE, where, 'use a memfd as guest memory')
    }
    const offset = backing.offset + offsets[i]
    const last = extents.at(-1)
    if (last?.fd === backing.fd && last.offset + last.length === offset) last.length += lengths[i]
    else extents.push({ fd: backing.fd, offset, length: lengths[i] })
  }
  checkWholePages(extents)
  return extents
}

/**
 * Checks that every extent lies within its file: touching pages past the end raises SIGBUS.
 * @param what name of the buffer, for messages
 * @returns the page size in bytes of each file, by descriptor: pages are discarded and mapped as a whole
 * @throws {UdmabufError}
 */
export function checkInFiles(extents: readonly FileExtent[], what: string): ReadonlyMap<number, number> {
  const pages = new Map<number, number>()
  let [known, end] = [-1, 0]
  for (const [i, { fd, offset, length }] of extents.entries()) {
    if (fd !== known) {
      const { size, blksize } = statOf(fd, what)
      pages.set(fd, blksize > pageSize() && hasHugePages(fd) ? blksize : pageSize())
      known = fd
      end = size
    }
    if (offset + length <= end) continue
    const piece = `piece ${i + 1} of ${what}, ${length} bytes from ${offset}, is not all in its file of ${end}`
    throw new UdmabufError(UdmabufProblem.BEYOND_FILE, piece, 'make the file at least as large as the guest’s memory')
  }
  return pages
}

/** True for files of huge pages. Other files may have large blocks and still be mapped in ordinary pages. */
function hasHugePages(fd: number): boolean {
  return statfsSync(`/proc/self/fd/${fd}`).type === HUGETLBFS_MAGIC
}

function statOf(fd: number, what: string): Stats {
  try {
    return fstatSync(fd)
  } catch (cause) {
    const closed = `the memory of ${what} is a file that is closed`
    throw new UdmabufError(UdmabufProblem.NOT_MEMORY_FILE, closed, 'share a memfd: with QEMU, memory-backend-memfd', {
      cause,
    })
  }
}

function checkWholePages(extents: readonly FileExtent[]): void {
  if (extents.length === 0)
    throw new UdmabufError(UdmabufProblem.EMPTY, 'the buffer has no memory', 'it must have at least one page')
  const page = pageSize()
  for (const [i, { offset, length }] of extents.entries()) {
    if (offset % page === 0 && length % page === 0 && length > 0) continue
    const piece = `piece ${i + 1} of ${extents.length}, ${length} bytes from ${offset} of its file, is not whole pages`
    throw new UdmabufError(UdmabufProblem.UNALIGNED, piece, `the driver must allocate multiples of ${page} bytes`)
  }
}
