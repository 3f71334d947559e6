import type { BounceMemory } from './bounce-memory.ts'
import { MemoryError } from './memory-error.ts'
import type { MemoryRegion } from './memory-region.ts'
import type { SpanList } from './span-list.ts'

/** Told of every range a device wrote: a just-in-time compiler that must forget code, a log of dirty pages. */
export type WriteListener = (address: number, length: number) => void

/**
 * The guest's address space as a device sees it: regions in ascending order, with holes between them.
 *
 *     const memory = new GuestMemory([MemoryRegion.over(0, new Uint8Array(1 << 20))])
 *     const spans = new SpanList()
 *     if (!memory.translate(address, length, spans)) return   // outside: the guest's mistake
 *     spans.regions[0].u8[spans.offsets[0]]                   // the byte at `address`
 */
export class GuestMemory {
  #regions: readonly MemoryRegion[] = []
  /** Told of addresses that were looked for in vain. */
  onMiss?: ((address: number) => void) | undefined
  /** Where the memory really is, while the regions are only its shadow. */
  remote: BounceMemory | undefined
  /** Number of changes of the memory map: who keeps something translated compares it. */
  #generation = 0
  readonly #changeListeners = new Set<() => void>()
  /** The region found last: mostly the next one too. */
  #last: MemoryRegion | undefined

  /** @param onWrite told of all writes from now on; nobody is while it is undefined */
  constructor(
    regions: readonly MemoryRegion[],
    public onWrite?: WriteListener,
  ) {
    this.replace(regions)
  }

  get regions(): readonly MemoryRegion[] {
    return this.#regions
  }

  get generation(): number {
    return this.#generation
  }

  /** Calls `listener` after each change of the memory map. @returns a function that ends this */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener)
    return () => this.#changeListeners.delete(listener)
  }

  /**
   * Changes the memory map, as when memory is plugged in. What was translated before keeps its regions, which may not be
   * guest memory any more: see `generation` and `onChange`.
   * @throws {MemoryError} if two regions overlap; everything stays as it was
   */
  replace(regions: readonly MemoryRegion[]): void {
    const sorted = [...regions].sort((a, b) => a.base - b.base)
    for (let i = 1; i < sorted.length; i++) {
      const below = sorted[i - 1]
      if (below.base + below.size > sorted[i].base) {
        throw new MemoryError(`regions overlap at ${sorted[i].base.toString(16)}`)
      }
    }
    this.#regions = sorted
    this.#last = sorted[0]
    this.#generation++
    for (const listener of this.#changeListeners) listener()
  }

  /** The region that holds `address` for a device; undefined in a hole, of which `onMiss` is notified. */
  find(address: number): MemoryRegion | undefined {
    const last = this.#last
    if (last !== undefined && address >= last.base && address - last.base < last.size) return last
    const region = this.#search(address)
    if (!region) this.onMiss?.(address)
    return region
  }

  /** The same for code that only asks whether it is there. */
  peek(address: number): MemoryRegion | undefined {
    return this.#search(address)
  }

  #search(address: number): MemoryRegion | undefined {
    const regions = this.#regions
    let low = 0
    for (let high = regions.length; high - low > 1; ) {
      const middle = (low + high) >>> 1
      if (regions[middle].base <= address) low = middle
      else high = middle
    }
    const region = regions.length > 0 ? regions[low] : undefined
    // Written so that NaN and negative addresses are nowhere.
    if (!(region && address >= region.base && address - region.base < region.size)) return undefined
    this.#last = region
    return region
  }

  /**
   * Appends to `into` the spans that cover `length` bytes from `address`, across touching regions.
   * @param length not negative
   * @param merge whether the first may become part of the span before it
   * @returns false where any byte lies outside the guest's memory, with `into` as it was
   */
  translate(address: number, length: number, into: SpanList, merge = false): boolean {
    const region = this.find(address)
    if (!region) return false
    const offset = address - region.base
    if (length > region.size - offset) return this.#translateAcross(address, length, into, merge)
    if (merge) into.merge(region, offset, length)
    else into.add(region, offset, length)
    return true
  }

  #translateAcross(address: number, length: number, into: SpanList, merge: boolean): boolean {
    if (!this.contains(address, length)) return false
    for (let at = address, left = length; left > 0; ) {
      const part = this.find(at) as MemoryRegion
      const start = at - part.base
      const take = Math.min(left, part.size - start)
      if (merge) into.merge(part, start, take)
      else into.add(part, start, take)
      at += take
      left -= take
    }
    return true
  }

  /** Whether all of `length` bytes from `address` are the guest's memory. */
  contains(address: number, length: number): boolean {
    const end = address + length
    if (!Number.isSafeInteger(end)) return false
    for (let at = address; ; ) {
      const region = this.find(at)
      if (!region) return false
      at = region.base + region.size
      if (at >= end) return true
    }
  }

  /**
   * To be called for whatever a device wrote, after writing it. A queue does it for its rings and for what was pushed.
   */
  wrote(region: MemoryRegion, offset: number, length: number): void {
    this.onWrite?.(region.base + offset, length)
    this.remote?.wrote(region, offset, length)
  }
}
