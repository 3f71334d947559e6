import { copyBytes, SMALL_COPY_BYTES } from './copy-bytes.ts'
import type { GuestMemory } from './guest-memory.ts'
import { MemoryError } from './memory-error.ts'
import { SpanList } from './span-list.ts'

/**
 * Long-lived list of guest memory ranges that together are one sequence of bytes, such as the pages behind a resource.
 *
 *     const backing = new ScatterList(memory)
 *     for (const entry of entries) backing.add(entry.address, entry.length)
 *     backing.read(row * stride, pixels)              // across ranges
 *     const view = backing.linear(0, stride)          // in place, if one range holds it
 *
 * Adjacent ranges are merged. The list follows the memory map: while any of its addresses is not guest memory,
 * `present` is false and nothing is read or written.
 */
export class ScatterList {
  #spans = new SpanList()
  readonly #memory: GuestMemory
  #present = true
  /** `GuestMemory.generation` at the last translation. */
  #generation: number
  #revision = 0
  /** Offset of each range in the list. */
  #starts = new Float64Array(16)
  /** Index of the range that the last look-up found. The next look-up mostly finds it or its successor. */
  #last = 0
  /** Cached views of ranges that were read whole, because making a view takes longer than copying a page. */
  #views: (Uint8Array | undefined)[] = []

  constructor(memory: GuestMemory) {
    this.#memory = memory
    this.#generation = memory.generation
  }

  /** Whether all ranges are guest memory. */
  get present(): boolean {
    if (this.#generation !== this.#memory.generation) this.#follow()
    return this.#present
  }

  /** Number of times that ranges moved, left guest memory or returned to it. */
  get revision(): number {
    if (this.#generation !== this.#memory.generation) this.#follow()
    return this.#revision
  }

  /** Ranges of the list. Callers must not change them, and must use them only while `present`. */
  get spans(): SpanList {
    return this.#spans
  }

  get byteLength(): number {
    return this.#spans.byteLength
  }

  /** Guest address and length of each range, one after another. */
  get ranges(): Float64Array {
    const { count, regions, offsets, lengths } = this.#spans
    const ranges = new Float64Array(2 * count)
    for (let i = 0; i < count; i++) ranges.set([regions[i].base + offsets[i], lengths[i]], 2 * i)
    return ranges
  }

  get segmentCount(): number {
    return this.#spans.count
  }

  /**
   * Appends a range; length 0 adds nothing. The caller must limit the number of entries.
   * @throws {MemoryError} if any byte is outside guest memory; the list is then unchanged
   */
  add(address: number, length: number): void {
    if (length === 0) return
    const spans = this.#spans
    const before = spans.count
    if (!(length > 0) || !this.#memory.translate(address, length, spans, true)) {
      throw new MemoryError(`${length} bytes at 0x${address.toString(16)} are not all in guest memory`)
    }
    this.#start(before)
  }

  /** Copies up to `length` bytes that start at `offset`. @returns the bytes copied: fewer at the end of the list */
  read(offset: number, target: Uint8Array, targetOffset = 0, length = target.length - targetOffset): number {
    if (!this.present) return 0
    const spans = this.#spans
    const want = offset >= 0 ? Math.min(length, this.byteLength - offset, target.length - targetOffset) : 0
    let done = 0
    for (let i = this.#find(offset); done < want; i++) {
      const skip = offset + done - this.#starts[i]
      const take = Math.min(want - done, spans.lengths[i] - skip)
      if (take === spans.lengths[i] && take > SMALL_COPY_BYTES) target.set(this.#view(i), targetOffset + done)
      else copyBytes(spans.regions[i].u8, spans.offsets[i] + skip, target, targetOffset + done, take)
      done += take
    }
    return done
  }

  /** Copies up to `length` bytes into the list at `offset`. @returns the bytes copied: fewer at the end of the list */
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
   * Returns a view of the bytes if one range holds them all; undefined if they are scattered or past the end. Callers
   * must not keep it, and must call `GuestMemory.wrote` after writing to it.
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
   * Appends to `into` the spans of `length` bytes that start at `offset`. The first one is merged with the last span of
   * `into` if it continues it.
   * @returns false if the list does not hold all of the bytes; `into` is then unchanged
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

  /** Translates the ranges again, in the present memory map. */
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
    // The views would keep removed memory alive.
    this.#views = []
    // The old spans still hold the guest addresses for the next translation.
    if (!present) return
    this.#spans = found
    this.#start(0)
  }

  #isInPlace(): boolean {
    const { count, regions, offsets } = this.#spans
    for (let i = 0; i < count; i++) if (this.#memory.peek(regions[i].base + offsets[i]) !== regions[i]) return false
    return true
  }

  /** Computes the offset of each range, beginning with index `from`. */
  #start(from: number): void {
    const { count, lengths, offsets } = this.#spans
    if (count > this.#starts.length) {
      const starts = new Float64Array(offsets.length)
      starts.set(this.#starts)
      this.#starts = starts
    }
    // The range before `from` may have grown by a merge.
    let start = from === 0 ? 0 : this.#starts[from - 1] + lengths[from - 1]
    for (let i = from; i < count; i++) {
      this.#starts[i] = start
      start += lengths[i]
    }
  }

  /** Returns a view of a whole range. A cached view of another length is stale: the range grew, or the memory moved. */
  #view(index: number): Uint8Array {
    const { count, regions, offsets, lengths } = this.#spans
    const kept = this.#views[index]
    if (kept !== undefined && kept.length === lengths[index]) return kept
    if (this.#views.length < count) this.#views = new Array(count)
    const view = regions[index].u8.subarray(offsets[index], offsets[index] + lengths[index])
    this.#views[index] = view
    return view
  }

  /** Index of the range that contains `offset`; unspecified if `offset` is out of range. */
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
