/** Part of the history: bytes, their end position, and true if bytes before them were dropped. */
export interface HistoryPart {
  readonly bytes: Uint8Array
  readonly end: number
  readonly skipped: boolean
}

const LINE_FEED = 0x0a
/** Bytes to search for the start of a line after output was dropped; a longer line is cut. */
const LINE_SEARCH = 4096

/**
 * Newest output of the terminal, in a ring. Readers keep a position in the whole output. A reader that is too slow
 * misses bytes that the ring no longer holds, and is notified.
 *
 *
 *     const history = new TerminalHistory(256 * 1024)
 *     history.append(bytes)
 *     const { bytes, end, skipped } = history.read(position, 65536)   // next time from `end`
 */
export class TerminalHistory {
  readonly #ring: Uint8Array
  /** Number of all bytes that were appended: the position of the next one. */
  #end = 0

  constructor(capacity: number) {
    this.#ring = new Uint8Array(capacity)
  }

  get end(): number {
    return this.#end
  }

  append(bytes: Uint8Array): void {
    const capacity = this.#ring.length
    const kept = bytes.length > capacity ? bytes.subarray(bytes.length - capacity) : bytes
    this.#end += bytes.length
    const start = (this.#end - kept.length) % capacity
    const first = kept.subarray(0, capacity - start)
    this.#ring.set(first, start)
    this.#ring.set(kept.subarray(first.length), 0)
  }

  /** Copies at most `limit` bytes from `position`, or from the oldest complete line if those bytes were dropped. */
  read(position: number, limit: number): HistoryPart {
    const oldest = Math.max(0, this.#end - this.#ring.length)
    const skipped = position < oldest
    const start = skipped ? this.#lineStart(oldest) : position
    const end = Math.min(this.#end, start + limit)
    const bytes = new Uint8Array(end - start)
    const at = start % this.#ring.length
    const first = this.#ring.subarray(at, Math.min(this.#ring.length, at + bytes.length))
    bytes.set(first)
    bytes.set(this.#ring.subarray(0, bytes.length - first.length), first.length)
    return { bytes, end, skipped }
  }

  #lineStart(from: number): number {
    const until = Math.min(this.#end, from + LINE_SEARCH)
    for (let at = from; at < until; at++) {
      if (this.#ring[at % this.#ring.length] === LINE_FEED) return at + 1
    }
    return from
  }
}
