import type { MemoryRegion } from './memory-region.ts'

/**
 * A list of pieces of guest memory, reused from request to request: three parallel arrays and a count.
 *
 *     regions[i].u8[offsets[i] .. offsets[i] + lengths[i]]
 *
 * Each span lies within one region and is checked by whoever adds it (`GuestMemory.translate`).
 */
export class SpanList {
  count = 0
  /** Sum of the lengths, in bytes. */
  byteLength = 0
  readonly regions: MemoryRegion[] = []
  offsets: Uint32Array
  lengths: Uint32Array

  constructor(capacity = 16) {
    this.offsets = new Uint32Array(capacity)
    this.lengths = new Uint32Array(capacity)
  }

  clear(): void {
    this.count = 0
    this.byteLength = 0
  }

  /** Appends a span, merged with the one before where they touch and `merge` is set. */
  add(region: MemoryRegion, offset: number, length: number, merge = false): void {
    const last = this.count - 1
    this.byteLength += length
    if (
      merge &&
      last >= 0 &&
      this.regions[last] === region &&
      this.offsets[last] + this.lengths[last] === offset &&
      this.lengths[last] + length <= 0xffff_ffff
    ) {
      this.lengths[last] += length
      return
    }
    if (this.count === this.offsets.length) this.#grow()
    this.regions[this.count] = region
    this.offsets[this.count] = offset
    this.lengths[this.count] = length
    this.count++
  }

  #grow(): void {
    const offsets = new Uint32Array(this.offsets.length * 2)
    const lengths = new Uint32Array(this.lengths.length * 2)
    offsets.set(this.offsets)
    lengths.set(this.lengths)
    this.offsets = offsets
    this.lengths = lengths
  }
}
