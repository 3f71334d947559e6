import { fstatSync, type Stats, statfsSync } from 'node:fs'
import type { SpanList } from '../../../memory/span-list.ts'
import { pageSize } from '../address-space.ts'
import type { FileExtent } from './protocol.ts'
import { UdmabufError, UdmabufProblem } from './udmabuf-error.ts'

/** What statfs(2) calls files of huge pages. */
const HUGETLBFS_MAGIC = 0x9584_58f6

/**
 * Where in their memory files pieces of guest memory lie: neighbours are one extent, also across regions of one file.
 *
 *     list.locate(0, list.byteLength, spans)              // a scatter list of the guest's
 *     const extents = fileExtents(spans)
 *     udmabuf.create(extents, 'scanout 0')                // or LinearView.of(extents, ...)
 *
 * To be used at once: the descriptors are of whoever has the memory, who may close them and get the numbers again.
 *
 * @throws {UdmabufError} NO_FILE, EMPTY, or UNALIGNED where one does not begin and end at whole pages
 */
export function fileExtents({ count, regions, offsets, lengths }: SpanList): FileExtent[] {
  const extents: { fd: number; offset: number; length: number }[] = []
  for (let i = 0; i < count; i++) {
    const { base, backing } = regions[i]
    if (!backing) {
      const where = `guest memory at ${(base + offsets[i]).toString(16)} has no file behind it`
      throw new UdmabufError(UdmabufProblem.NO_FILE, where, 'give the guest memory that is a memfd')
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
 * Sees to it that the files behind a buffer hold its bytes, which nobody could touch otherwise.
 * @param what the buffer is, for messages
 * @returns of how many bytes the pages of each file are, which are discarded and mapped as a whole
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
    throw new UdmabufError(UdmabufProblem.BEYOND_FILE, piece, 'make the file as large as the guest’s memory')
  }
  return pages
}

/** Other files may have large blocks, and be mapped in ordinary pages all the same. */
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
  if (extents.length === 0) throw new UdmabufError(UdmabufProblem.EMPTY, 'no memory at all', 'give it some')
  const page = pageSize()
  for (const [i, { offset, length }] of extents.entries()) {
    if (offset % page === 0 && length % page === 0 && length > 0) continue
    const piece = `piece ${i + 1} of ${extents.length}, ${length} bytes from ${offset} of its file, is not whole pages`
    throw new UdmabufError(UdmabufProblem.UNALIGNED, piece, `its driver has to allocate multiples of ${page} bytes`)
  }
}
