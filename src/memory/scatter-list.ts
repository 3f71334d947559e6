import { copyBytes, SMALL } from './copy-bytes.ts'
import type { GuestMemory } from './guest-memory.ts'
import { MemoryError } from './memory-error.ts'
import { SpanList } from './span-list.ts'

/**
 * A long-lived list of pieces of guest memory that together are one run of bytes, such as the pages behind a picture.
 *
 *     const backing = new ScatterList(memory)
 *     for (const entry of entries) backing.add(entry.address, entry.length)
 *     backing.read(row * stride, pixels)              // across pieces
 *     const view = backing.linear(0, stride)          // in place, where one piece holds it
 *
 * Neighbours are merged. The list survives memory that moves.
 */
export class ScatterList {
  /** The pieces. For reading only. */
  readonly spans = new SpanList()
  readonly #memory: GuestMemory
  /** Where each piece starts in the run of bytes. */
  #starts = new Float64Array(16)
  /** The piece the last look-up found: the next one mostly wants it or its neighbour. */
  #last = 0
  /** Of pieces that were read whole: making a view takes longer than copying a page does. */
  #views: (Uint8Array | undefined)[] = []

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  get byteLength(): number {
    return this.spans.byteLength
  }

  get segmentCount(): number {
    return this.spans.count
  }

  /**
   * Appends a piece; one of length 0 adds nothing. How many entries are too many is the caller's to say.
   * @throws {MemoryError} where any of it is outside guest memory; the list stays as it was
   */
  add(address: number, length: number): void {
    if (length === 0) return
    const spans = this.spans
    const before = spans.count
    if (!(length > 0) || !this.#memory.translate(address, length, spans, true)) {
      throw new MemoryError(`${length} bytes from ${address.toString(16)} are not all guest memory`)
    }
    if (spans.count > this.#starts.length) {
      const starts = new Float64Array(spans.offsets.length)
      starts.set(this.#starts)
      this.#starts = starts
    }
    if (spans.count === before) return
    // The first part of it may have been merged with the piece before.
    let start = before === 0 ? 0 : this.#starts[before - 1] + spans.lengths[before - 1]
    for (let i = before; i < spans.count; i++) {
      this.#starts[i] = start
      start += spans.lengths[i]
    }
  }

  /** Copies up to `length` bytes from `offset` on. @returns the bytes copied: fewer at the end of the list */
  read(offset: number, target: Uint8Array, targetOffset = 0, length = target.length - targetOffset): number {
    const spans = this.spans
    const want = offset >= 0 ? Math.min(length, this.byteLength - offset, target.length - targetOffset) : 0
    let done = 0
    for (let i = this.#find(offset); done < want; i++) {
      const skip = offset + done - this.#starts[i]
      const take = Math.min(want - done, spans.lengths[i] - skip)
      if (take === spans.lengths[i] && take > SMALL) target.set(this.#view(i), targetOffset + done)
      else copyBytes(spans.regions[i].u8, spans.offsets[i] + skip, target, targetOffset + done, take)
      done += take
    }
    return done
  }

  /** Copies up to `length` bytes to `offset` on. @returns the bytes copied: fewer at the end of the list */
  write(offset: number, source: Uint8Array, sourceOffset = 0, length = source.length - sourceOffset): number {
    const spans = this.spans
    const want = offset >= 0 ? Math.min(length, this.byteLength - offset, source.length - sourceOffset) : 0
    let done = 0
    for (let i = this.#find(offset); done < want; i++) {
      const skip = offset + done - this.#starts[i]
      const take = Math.min(want - done, spans.lengths[i] - skip)
      copyBytes(source, sourceOffset + done, spans.regions[i].u8, spans.offsets[i] + skip, take)
      this.#memory.wrote(spans.regions[i], spans.offsets[i] + skip, take)
      done += take
    }
    return done
  }

  /**
   * The bytes themselves, where one piece holds them all; undefined where they are scattered or past the end. Not to be
   * kept, and who writes to it tells `GuestMemory.wrote`.
   */
  linear(offset: number, length: number): Uint8Array | undefined {
    if (offset < 0 || length < 0 || offset + length > this.byteLength) return undefined
    const i = this.#find(offset)
    const skip = offset - this.#starts[i]
    if (i >= this.spans.count || length > this.spans.lengths[i] - skip) return undefined
    const start = this.spans.offsets[i] + skip
    return this.spans.regions[i].u8.subarray(start, start + length)
  }

  /**
   * Appends to `into` where `length` bytes from `offset` on lie; the first may become part of the span before it.
   * @returns false where they are not all there, with `into` as it was
   */
  locate(offset: number, length: number, into: SpanList): boolean {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.byteLength)) return false
    const spans = this.spans
    for (let i = this.#find(offset), done = 0; done < length; i++) {
      const skip = offset + done - this.#starts[i]
      const take = Math.min(length - done, spans.lengths[i] - skip)
      into.merge(spans.regions[i], spans.offsets[i] + skip, take)
      done += take
    }
    return true
  }

  /** A whole piece. The view kept of it is of another length where the piece has grown since, and of none where memory moved. */
  #view(index: number): Uint8Array {
    const { count, regions, offsets, lengths } = this.spans
    const kept = this.#views[index]
    if (kept !== undefined && kept.length === lengths[index]) return kept
    if (this.#views.length < count) this.#views = new Array(count)
    const view = regions[index].u8.subarray(offsets[index], offsets[index] + lengths[index])
    this.#views[index] = view
    return view
  }

  /** The piece that holds `offset`; any where none does. */
  #find(offset: number): number {
    const starts = this.#starts
    const count = this.spans.count
    let low = this.#last
    if (low < count && offset >= starts[low]) {
      if (low + 1 === count || offset < starts[low + 1]) return low
      if (low + 2 === count || offset < starts[low + 2]) {
        this.#last = low + 1
        return low + 1
      }
    }
    low = 0
    for (let high = count; high - low > 1; ) {
      const middle = (low + high) >>> 1
      if (starts[middle] <= offset) low = middle
      else high = middle
    }
    this.#last = low
    return low
  }
}
