import { Errno } from '../../host/linux/errno.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import { PAGE } from './protocol.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** Number of pages in one piece of the log. */
const PIECE_PAGES = 1 << 15
/** Maximum number of bits in one report. */
const MAX_BITS = 1 << 23

/**
 * Log of the guest pages that devices write, which a client requests to copy the memory of a running guest.
 *
 *     log.start(4096)
 *     log.report(0, 1 << 20, 4096)           // one bit a page, the lowest first; clears them in the log
 *     log.stop()
 *
 * @vfio-user DMA_LOGGING_START, DMA_LOGGING_STOP, DMA_LOGGING_REPORT
 */
export class DmaLog {
  /** Bitmaps of `PIECE_PAGES` pages each, by page number divided by `PIECE_PAGES`. Created at the first write. */
  readonly #pieces = new Map<number, Uint32Array>()
  #active = false

  constructor(private readonly memory: GuestMemory) {}

  /** Starts logging. @returns the granularity of the log in bytes */
  start(pageSize: number): number {
    if (!isPowerOfTwo(pageSize))
      throw new VfioUserError(Errno.EINVAL, `the page size must be a power of two (${pageSize})`)
    this.#active = true
    this.memory.onWrite = (address, length) => this.#mark(address, length)
    return PAGE
  }

  stop(): void {
    this.#active = false
    this.memory.onWrite = undefined
    this.#pieces.clear()
  }

  /** Returns one bit for each `pageSize` bytes of the range, in whole 64-bit words, and clears them in the log. */
  report(address: number, length: number, pageSize: number): Uint8Array {
    if (!this.#active) throw new VfioUserError(Errno.EINVAL, 'logging is not active')
    const bits = Math.ceil(length / pageSize)
    const end = address + length
    if (!isPowerOfTwo(pageSize) || !(bits > 0 && bits <= MAX_BITS) || !Number.isSafeInteger(end)) {
      throw new VfioUserError(
        Errno.EINVAL,
        `invalid range or page size: ${length} bytes at ${address}, page size ${pageSize}`,
      )
    }
    const bitmap = new Uint8Array(Math.ceil(bits / 64) * 8)
    this.#take(address, end, (page) => {
      const from = Math.max(0, Math.floor((page * PAGE - address) / pageSize))
      const to = Math.min(bits - 1, Math.floor(((page + 1) * PAGE - 1 - address) / pageSize))
      for (let bit = from; bit <= to; bit++) bitmap[bit >>> 3] |= 1 << (bit & 7)
    })
    return bitmap
  }

  #mark(address: number, length: number): void {
    if (length === 0) return
    const last = Math.floor((address + length - 1) / PAGE)
    for (let page = Math.floor(address / PAGE); page <= last; page++) {
      const index = Math.floor(page / PIECE_PAGES)
      let piece = this.#pieces.get(index)
      if (!piece) {
        piece = new Uint32Array(PIECE_PAGES / 32)
        this.#pieces.set(index, piece)
      }
      const bit = page % PIECE_PAGES
      piece[bit >>> 5] |= 1 << (bit & 31)
    }
  }

  /** Calls `each` for every written page of a range, and clears its bit. */
  #take(address: number, end: number, each: (page: number) => void): void {
    for (const [index, piece] of this.#pieces) {
      for (let at = 0; at < PIECE_PAGES; at++) {
        // Skips 32 pages: most words are 0.
        if (piece[at >>> 5] === 0) {
          at |= 31
          continue
        }
        const bit = 1 << (at & 31)
        const page = index * PIECE_PAGES + at
        if ((piece[at >>> 5] & bit) === 0 || (page + 1) * PAGE <= address || page * PAGE >= end) continue
        piece[at >>> 5] &= ~bit
        each(page)
      }
    }
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value))
}
