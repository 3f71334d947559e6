import type { MemoryRegion } from './memory-region.ts'

/**
 * List of guest memory ranges, reused from request to request: three parallel arrays and a count.
 *
 *     regions[i].u8[offsets[i] .. offsets[i] + lengths[i]]
 *
 * Each span lies within one region. The code that adds a span checks it (`GuestMemory.translate`).
 */
export class SpanList {
  count = 0
  /** Sum of all lengths, in bytes. */
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

  /** Appends a span. */
  add(region: MemoryRegion, offset: number, length: number): void {
    const index = this.count
    if (index === this.offsets.length) this.#grow()
    this.regions[index] = region
    this.offsets[index] = offset
    this.lengths[index] = length
    this.count = index + 1
    this.byteLength += length
  }

  /** Extends the last span if the new one continues it, else appends a span. */
  merge(region: MemoryRegion, offset: number, length: number): void {
    const last = this.count - 1
    const touching =
      last >= 0 &&
      this.regions[last] === region &&
      this.offsets[last] + this.lengths[last] === offset &&
      this.lengths[last] + length <= 0xffff_ffff
    if (!touching) {
      this.add(region, offset, length)
      return
    }
    this.lengths[last] += length
    this.byteLength += length
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
