import type { MemoryRegion } from '../../memory/memory-region.ts'

/**
 * Hands out guest memory to a driver in tests: pieces of a power of two, used again once freed.
 *
 *     const allocator = new GuestAllocator(region)
 *     const page = allocator.allocate(4096, 4096)
 *     allocator.free(page)
 */
export class GuestAllocator {
  readonly region: MemoryRegion
  /** First byte never handed out, from the region's start. */
  #top: number
  readonly #end: number
  /** Freed pieces by their size's logarithm. */
  readonly #freed: number[][] = []
  /** Logarithm of the size of each piece handed out, by address. */
  readonly #sizes = new Map<number, number>()

  /** @param from where in the region to begin, @param to and to end */
  constructor(region: MemoryRegion, from = 0, to = region.size) {
    this.region = region
    this.#top = from
    this.#end = to
  }

  /** @returns the guest address of at least `size` bytes, a multiple of `alignment` (a power of two) */
  allocate(size: number, alignment = 16): number {
    const log = Math.ceil(Math.log2(Math.max(size, alignment, 16)))
    const freed = this.#freed[log]?.pop()
    if (freed !== undefined) {
      this.#sizes.set(freed, log)
      return freed
    }
    const length = 2 ** log
    const address = Math.ceil((this.region.base + this.#top) / length) * length
    const top = address + length - this.region.base
    if (top > this.#end) throw new RangeError(`guest memory is used up: ${size} bytes wanted`)
    this.#top = top
    this.#sizes.set(address, log)
    return address
  }

  free(address: number): void {
    const log = this.#sizes.get(address)
    if (log === undefined) throw new RangeError(`guest address ${address.toString(16)} was not allocated`)
    this.#sizes.delete(address)
    const freed = this.#freed[log]
    if (freed) freed.push(address)
    else this.#freed[log] = [address]
  }
}
