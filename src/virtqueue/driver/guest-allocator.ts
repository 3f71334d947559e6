import type { MemoryRegion } from '../../memory/memory-region.ts'

/**
 * Allocator of guest memory for test drivers: power-of-two blocks, reused after they are freed.
 *
 *     const allocator = new GuestAllocator(region)
 *     const page = allocator.allocate(4096, 4096)
 *     allocator.free(page)
 */
export class GuestAllocator {
  readonly region: MemoryRegion
  /** Offset of the first byte that was never allocated. */
  #top: number
  readonly #end: number
  /** Addresses of freed blocks, by the binary logarithm of their size. */
  readonly #freed: number[][] = []
  /** Binary logarithm of the size of each allocated block, by address. */
  readonly #sizes = new Map<number, number>()

  /**
   * @param from offset in the region of the first byte to allocate
   * @param to offset of the end
   */
  constructor(region: MemoryRegion, from = 0, to = region.size) {
    this.region = region
    this.#top = from
    this.#end = to
  }

  /** Allocates at least `size` bytes. @returns their guest address, a multiple of `alignment` (a power of two) */
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
    if (top > this.#end) throw new RangeError(`guest memory exhausted: cannot allocate ${size} bytes`)
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
