import { MemoryError } from './memory-error.ts'

/** Where a region's bytes lie now; asked again whenever the buffer was detached (a growing WebAssembly memory). */
export type RegionSource = () => { readonly buffer: ArrayBufferLike; readonly byteOffset: number }

/** The file behind a region, so that its pages can become a dma-buf or another process's mapping. */
export interface RegionBacking {
  /** For use at once. @throws {Error} where the file is closed */
  readonly fd: number
  /** Where in the file the region starts, in bytes. */
  readonly offset: number
}

/**
 * One contiguous range of guest addresses, backed by one buffer.
 *
 * The views are made once and kept; they are made again only when the engine's memory moved, which a detached view
 * (length 0) tells. Take a view from here for each use, never keep one across a return to the engine.
 */
export class MemoryRegion {
  #u8: Uint8Array = new Uint8Array(0)
  #u16: Uint16Array = new Uint16Array(0)
  #u32: Uint32Array = new Uint32Array(0)

  /**
   * @param base first guest address, a multiple of 4
   * @param size bytes, a multiple of 4, at most 4 GiB - 4
   * @param source where the bytes lie
   * @param backing the file behind them, where there is one
   */
  constructor(
    readonly base: number,
    readonly size: number,
    private readonly source: RegionSource,
    readonly backing?: RegionBacking,
  ) {
    if (!Number.isSafeInteger(base) || base < 0 || base % 4 !== 0) throw new MemoryError(`region base ${base}`)
    if (!Number.isSafeInteger(size) || size <= 0 || size % 4 !== 0 || size > 0xffff_fffc) {
      throw new MemoryError(`region size ${size}`)
    }
    if (!Number.isSafeInteger(base + size)) throw new MemoryError(`region end ${base + size}`)
  }

  /** A region over a buffer that never moves. */
  static over(base: number, bytes: Uint8Array): MemoryRegion {
    return new MemoryRegion(base, bytes.byteLength, () => bytes)
  }

  get u8(): Uint8Array {
    return this.#u8.length === 0 ? this.#attach().#u8 : this.#u8
  }

  get u16(): Uint16Array {
    return this.#u16.length === 0 ? this.#attach().#u16 : this.#u16
  }

  get u32(): Uint32Array {
    return this.#u32.length === 0 ? this.#attach().#u32 : this.#u32
  }

  #attach(): this {
    const { buffer, byteOffset } = this.source()
    if (byteOffset % 4 !== 0 || byteOffset + this.size > buffer.byteLength) {
      throw new MemoryError(`region at ${this.base.toString(16)}: ${this.size} bytes do not lie in their buffer`)
    }
    this.#u8 = new Uint8Array(buffer, byteOffset, this.size)
    this.#u16 = new Uint16Array(buffer, byteOffset, this.size >>> 1)
    this.#u32 = new Uint32Array(buffer, byteOffset, this.size >>> 2)
    return this
  }
}
