import { mapFileAt, reserve, unmap } from '../../host/linux/address-space.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import { checkInFiles } from '../../host/linux/udmabuf/file-extents.ts'
import { MAX_VIEW_BYTES, PageView } from '../../host/linux/udmabuf/page-view.ts'
import type { FileExtent } from '../../host/linux/udmabuf/protocol.ts'
import { UdmabufError, UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'

/** Each piece is a mapping of its own, of which a process has 65,530 unless its system was told otherwise. */
const MAX_PIECES = 32_768

/**
 * Scattered pieces of memory files, one behind the other in this process's addresses: the same pages, not a copy.
 *
 *     const view = LinearView.of(extents, 'scanout 0', 'there is no /dev/udmabuf')
 *     encode(view.bytes)                     // what the guest draws, as it draws it
 *     view.close()
 *
 * Whoever else has the files can do the same. It is no dma-buf: a GPU cannot import it, and `notDmaBuf` says why.
 * It is as safe to touch as other mappings of the files are: one that is shrunk takes its pages away (`Mapping.mayShrink`).
 */
export class LinearView {
  readonly bytes: Uint8Array
  readonly #view: PageView

  private constructor(
    view: PageView,
    /** Why this is all there is, in words for people. */
    readonly notDmaBuf: string,
  ) {
    this.#view = view
    this.bytes = view.bytes
  }

  /**
   * Finds out whether there can be one, as far as that depends on the pieces.
   * @returns its bytes
   * @throws {UdmabufError}
   */
  static check(extents: readonly FileExtent[], what: string): number {
    const length = extents.reduce((sum, extent) => sum + extent.length, 0)
    if (length === 0) throw new UdmabufError(UdmabufProblem.EMPTY, `${what} has no memory`, 'give it some')
    if (length > MAX_VIEW_BYTES) {
      const tooLarge = `${what} has ${length} bytes, and a view at most ${MAX_VIEW_BYTES}`
      throw new UdmabufError(UdmabufProblem.TOO_LARGE, tooLarge, 'view a part of it')
    }
    if (extents.length > MAX_PIECES) {
      const scattered = `${what} is in ${extents.length} pieces, and a view takes ${MAX_PIECES}`
      throw new UdmabufError(UdmabufProblem.TOO_MANY_PIECES, scattered, 'have the guest use larger pieces')
    }
    const pages = checkInFiles(extents, what)
    for (const { fd, offset, length } of extents) {
      const page = pages.get(fd) ?? 1
      if (offset % page === 0 && length % page === 0) continue
      const piece = `${length} bytes of ${what}, from ${offset} of their file, are not whole pages of ${page}`
      throw new UdmabufError(UdmabufProblem.UNALIGNED, piece, 'huge pages are mapped in whole ones')
    }
    return length
  }

  /**
   * Borrows the files, and no longer needs them afterwards.
   * @param extents whole pages, as `fileExtents` gives them
   * @param what it is, for messages
   * @throws {UdmabufError} with nothing left of what was mapped
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
      return new UdmabufError(UdmabufProblem.REFUSED, what, 'the kernel does not say why', { cause: error })
  }
}
