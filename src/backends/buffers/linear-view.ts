import { mapFileAt, reserve, unmap } from '../../host/linux/address-space.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import { checkInFiles } from '../../host/linux/udmabuf/file-extents.ts'
import { MAX_VIEW_BYTES, PageView } from '../../host/linux/udmabuf/page-view.ts'
import type { FileExtent } from '../../host/linux/udmabuf/protocol.ts'
import { UdmabufError, UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'

/** Limit of pieces of one view. Each is a mapping, of which a process has 65,530 by default. */
const MAX_PIECES = 32_768

/**
 * Contiguous mapping of scattered pieces of memory files. It maps the same pages and copies nothing.
 *
 *     const view = LinearView.of(extents, 'scanout 0', 'there is no /dev/udmabuf')
 *     encode(view.bytes)                     // the guest's own pages
 *     view.close()
 *
 * Other processes with the files can map them in the same way. It is not a dma-buf: a GPU cannot import it, and
 * `notDmaBuf` says why. Touching it is as safe as touching other mappings of the files: shrinking a file removes its
 * pages (`Mapping.mayShrink`).
 */
export class LinearView {
  readonly bytes: Uint8Array
  readonly #view: PageView

  private constructor(
    view: PageView,
    /** Reason why there is no dma-buf, as text for the operator. */
    readonly notDmaBuf: string,
  ) {
    this.#view = view
    this.bytes = view.bytes
  }

  /**
   * Checks whether the pieces can be mapped.
   * @returns size in bytes
   * @throws {UdmabufError}
   */
  static check(extents: readonly FileExtent[], what: string): number {
    const length = extents.reduce((sum, extent) => sum + extent.length, 0)
    if (length === 0)
      throw new UdmabufError(UdmabufProblem.EMPTY, `${what} has no memory`, 'it must have at least one page')
    if (length > MAX_VIEW_BYTES) {
      const tooLarge = `${what} has ${length} bytes, and a view at most ${MAX_VIEW_BYTES}`
      throw new UdmabufError(UdmabufProblem.TOO_LARGE, tooLarge, 'map a part of it')
    }
    if (extents.length > MAX_PIECES) {
      const scattered = `${what} is in ${extents.length} pieces, and a view takes ${MAX_PIECES}`
      throw new UdmabufError(UdmabufProblem.TOO_MANY_PIECES, scattered, 'have the guest use larger pieces')
    }
    const pages = checkInFiles(extents, what)
    for (const { fd, offset, length } of extents) {
      const page = pages.get(fd) ?? 1
      if (offset % page === 0 && length % page === 0) continue
      const piece = `${length} bytes of ${what}, from ${offset} of their file, are not whole pages of ${page} bytes`
      throw new UdmabufError(UdmabufProblem.UNALIGNED, piece, 'huge pages can only be mapped whole')
    }
    return length
  }

  /**
   * Maps the pieces. The files are needed during the call only.
   * @param extents whole pages, as `fileExtents` returns them
   * @param what name of the memory, for messages
   * @throws {UdmabufError}; nothing stays mapped
   */
  static of(extents: readonly FileExtent[], what: string, notDmaBuf: string): LinearView {
    const length = LinearView.check(extents, what)
    const pages = reserve(`reserving addresses for ${what}`, length)
    try {
      let at = pages.address
      for (const { fd, offset, length } of extents) {
        mapFileAt(`mapping a piece of ${what}`, { address: at, length }, fd, offset)
        at += length
      }
      return new LinearView(new PageView(pages, what), notDmaBuf)
    } catch (error) {
      unmap(pages)
      throw error instanceof SystemCallError ? refusal(error) : error
    }
  }

  close(): void {
    this.#view.close()
  }
}

function refusal(error: SystemCallError): UdmabufError {
  const { message: what } = error
  switch (error.code) {
    case 'ENOMEM':
      return new UdmabufError(UdmabufProblem.NO_MEMORY, what, 'raise vm.max_map_count', { cause: error })
    case 'EBADF':
    case 'EACCES':
    case 'ENODEV':
      return new UdmabufError(UdmabufProblem.NOT_MEMORY_FILE, what, 'share a memfd, open for reading and writing', {
        cause: error,
      })
    default:
      return new UdmabufError(UdmabufProblem.REFUSED, what, 'see the log of the kernel', { cause: error })
  }
}
