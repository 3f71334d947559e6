import type { BounceMemory } from './bounce-memory.ts'
import { MemoryError } from './memory-error.ts'
import type { MemoryRegion } from './memory-region.ts'
import type { SpanList } from './span-list.ts'

/** Called with every range that a device wrote, for example to invalidate compiled code or to log dirty pages. */
export type WriteListener = (address: number, length: number) => void

/**
 * Guest memory as a device sees it: regions in ascending order, with holes between them.
 *
 *     const memory = new GuestMemory([MemoryRegion.over(0, new Uint8Array(1 << 20))])
 *     const spans = new SpanList()
 *     if (!memory.translate(address, length, spans)) return   // outside: the guest's mistake
 *     spans.regions[0].u8[spans.offsets[0]]                   // the byte at `address`
 */
export class GuestMemory {
  #regions: readonly MemoryRegion[] = []
  /** Called with every address that no region covers. */
  onMiss?: ((address: number) => void) | undefined
  /** Set when the regions are bounce memory: reaches the guest's own memory by messages. */
  bounce: BounceMemory | undefined
  /** Number of changes of the memory map. Callers that keep translations compare it. */
  #generation = 0
  readonly #changeListeners = new Set<() => void>()
  /** Region that was found last, which mostly covers the next address too. */
  #last: MemoryRegion | undefined

  /** @param onWrite called with every range that is written */
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

  /** Calls `listener` after each change of the memory map. @returns a function that removes the listener */
  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener)
    return () => this.#changeListeners.delete(listener)
  }

  /**
   * Replaces the regions, for example on memory hot-plug. Earlier translations keep their regions, which may no longer
   * be guest memory: see `generation` and `onChange`.
   * @throws {MemoryError} if two regions overlap; the regions are then unchanged
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

  /** Returns the region that covers `address`. If there is none, calls `onMiss` and returns undefined. */
  find(address: number): MemoryRegion | undefined {
    const last = this.#last
    if (last !== undefined && address >= last.base && address - last.base < last.size) return last
    const region = this.#search(address)
    if (!region) this.onMiss?.(address)
    return region
  }

  /** Returns the region that covers `address`, if any, without a call of `onMiss`. */
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
    // Negated so that NaN fails too.
    if (!(region && address >= region.base && address - region.base < region.size)) return undefined
    this.#last = region
    return region
  }

  /**
   * Appends to `into` the spans that cover `length` bytes from `address`, across adjacent regions.
   * @param length 0 or more
   * @param merge true to extend the last span of `into` if the new one continues it; default: false
   * @returns false if any byte is outside guest memory; `into` is then unchanged
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
    for (let at = address, remaining = length; remaining > 0; ) {
      const part = this.find(at) as MemoryRegion
      const start = at - part.base
      const take = Math.min(remaining, part.size - start)
      if (merge) into.merge(part, start, take)
      else into.add(part, start, take)
      at += take
      remaining -= take
    }
    return true
  }

  /** Whether guest memory covers all of `length` bytes from `address`. */
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
   * Reports a range that a device wrote. Must be called after every write, except for rings and pushed chains, which
   * the queue reports.
   */
  wrote(region: MemoryRegion, offset: number, length: number): void {
    this.onWrite?.(region.base + offset, length)
    this.bounce?.wrote(region, offset, length)
  }
}
