import { MemoryError } from './memory-error.ts'

/**
 * Returns the present location of a region's bytes. Called again after the buffer was detached (WebAssembly growth).
 */
export type RegionSource = () => { readonly buffer: ArrayBufferLike; readonly byteOffset: number }

/** File behind a region, from which a dma-buf or a mapping in another process can be made. */
export interface RegionBacking {
  /** Descriptor for immediate use. @throws {Error} if the file is closed */
  readonly fd: number
  /** Offset of the region in the file, in bytes. */
  readonly offset: number
}

/**
 * Contiguous range of guest addresses, backed by one buffer.
 *
 * The views are cached. They are made again when the engine's memory moved, which detaches them (length 0). Callers
 * must take a view for each use and must not keep one across a return to the engine.
 */
export class MemoryRegion {
  #u8: Uint8Array = new Uint8Array(0)
  #u16: Uint16Array = new Uint16Array(0)
  #u32: Uint32Array = new Uint32Array(0)

  /**
   * @param base first guest address, a multiple of 4
   * @param size bytes, a multiple of 4, at most 4 GiB - 4
   * @param source returns the location of the bytes
   * @param backing file behind the bytes, if any
   */
  constructor(
    readonly base: number,
    readonly size: number,
    private readonly source: RegionSource,
    readonly backing?: RegionBacking,
  ) {
    if (!Number.isSafeInteger(base) || base < 0 || base % 4 !== 0)
      throw new MemoryError(`region base ${base} must be 0 or a positive multiple of 4`)
    if (!Number.isSafeInteger(size) || size <= 0 || size % 4 !== 0 || size > 0xffff_fffc) {
      throw new MemoryError(`region size ${size} must be a positive multiple of 4, at most 4 GiB - 4`)
    }
    if (!Number.isSafeInteger(base + size)) throw new MemoryError(`region end ${base + size} exceeds 2^53 - 1`)
  }

  /** Returns a region over a buffer that never moves. */
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
      throw new MemoryError(`region at 0x${this.base.toString(16)}: its ${this.size} bytes are not within their buffer`)
    }
    this.#u8 = new Uint8Array(buffer, byteOffset, this.size)
    this.#u16 = new Uint16Array(buffer, byteOffset, this.size >>> 1)
    this.#u32 = new Uint32Array(buffer, byteOffset, this.size >>> 2)
    return this
  }
}
