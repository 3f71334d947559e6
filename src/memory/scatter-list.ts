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
 * Neighbours are merged. The list follows the memory map: while any of its addresses is not guest memory, it is not
 * `present`, and nothing is read or written.
 */
export class ScatterList {
  #spans = new SpanList()
  readonly #memory: GuestMemory
  #present = true
  /** `GuestMemory.generation` when the pieces were last looked up. */
  #generation: number
  #revision = 0
  /** Where each piece starts in the run of bytes. */
  #starts = new Float64Array(16)
  /** The piece the last look-up found: the next one mostly wants it or its neighbour. */
  #last = 0
  /** Of pieces that were read whole: making a view takes longer than copying a page does. */
  #views: (Uint8Array | undefined)[] = []

  constructor(memory: GuestMemory) {
    this.#memory = memory
    this.#generation = memory.generation
  }

  /** Whether all of it is guest memory. */
  get present(): boolean {
    if (this.#generation !== this.#memory.generation) this.#follow()
    return this.#present
  }

  /** Number of times that pieces moved, went, or came back. */
  get revision(): number {
    if (this.#generation !== this.#memory.generation) this.#follow()
    return this.#revision
  }

  /** The pieces; for reading only, and only while it is `present`. */
  get spans(): SpanList {
    return this.#spans
  }

  get byteLength(): number {
    return this.#spans.byteLength
  }

  get segmentCount(): number {
    return this.#spans.count
  }

  /**
   * Appends a piece; one of length 0 adds nothing. How many entries are too many is the caller's to say.
   * @throws {MemoryError} where any of it is outside guest memory; the list stays as it was
   */
  add(address: number, length: number): void {
    if (length === 0) return
    const spans = this.#spans
    const before = spans.count
    if (!(length > 0) || !this.#memory.translate(address, length, spans, true)) {
      throw new MemoryError(`${length} bytes from ${address.toString(16)} are not all guest memory`)
    }
    this.#start(before)
  }

  /** Copies up to `length` bytes from `offset` on. @returns the bytes copied: fewer at the end of the list */
  read(offset: number, target: Uint8Array, targetOffset = 0, length = target.length - targetOffset): number {
    if (!this.present) return 0
    const spans = this.#spans
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
    if (!this.present) return 0
    const spans = this.#spans
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
    if (offset < 0 || length < 0 || offset + length > this.byteLength || !this.present) return undefined
    const spans = this.#spans
    const i = this.#find(offset)
    const skip = offset - this.#starts[i]
    if (i >= spans.count || length > spans.lengths[i] - skip) return undefined
    const start = spans.offsets[i] + skip
    return spans.regions[i].u8.subarray(start, start + length)
  }

  /**
   * Appends to `into` where `length` bytes from `offset` on lie; the first may become part of the span before it.
   * @returns false where they are not all there, with `into` as it was
   */
  locate(offset: number, length: number, into: SpanList): boolean {
    if (!(offset >= 0 && length >= 0 && offset + length <= this.byteLength && this.present)) return false
    const spans = this.#spans
    for (let i = this.#find(offset), done = 0; done < length; i++) {
      const skip = offset + done - this.#starts[i]
      const take = Math.min(length - done, spans.lengths[i] - skip)
      into.merge(spans.regions[i], spans.offsets[i] + skip, take)
      done += take
    }
    return true
  }

  /** Looks the pieces up in the memory map as it is now. */
  #follow(): void {
    this.#generation = this.#memory.generation
    if (this.#present && this.#isInPlace()) return
    const old = this.#spans
    const found = new SpanList(old.offsets.length)
    let present = true
    for (let i = 0; present && i < old.count; i++) {
      const address = old.regions[i].base + old.offsets[i]
      present = this.#memory.peek(address) !== undefined && this.#memory.translate(address, old.lengths[i], found, true)
    }
    if (present || this.#present) this.#revision++
    this.#present = present
    // The views would keep memory that is gone.
    this.#views = []
    // Without memory the old pieces say which addresses they were.
    if (!present) return
    this.#spans = found
    this.#start(0)
  }

  #isInPlace(): boolean {
    const { count, regions, offsets } = this.#spans
    for (let i = 0; i < count; i++) if (this.#memory.peek(regions[i].base + offsets[i]) !== regions[i]) return false
    return true
  }

  /** Notes where each piece starts, from the piece of index `from` on. */
  #start(from: number): void {
    const { count, lengths, offsets } = this.#spans
    if (count > this.#starts.length) {
      const starts = new Float64Array(offsets.length)
      starts.set(this.#starts)
      this.#starts = starts
    }
    // The last piece before may have grown since.
    let start = from === 0 ? 0 : this.#starts[from - 1] + lengths[from - 1]
    for (let i = from; i < count; i++) {
      this.#starts[i] = start
      start += lengths[i]
    }
  }

  /** A whole piece. The view kept of it is of another length where the piece has grown since, and of none where memory moved. */
  #view(index: number): Uint8Array {
    const { count, regions, offsets, lengths } = this.#spans
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
    const count = this.#spans.count
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
