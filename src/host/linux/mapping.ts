import { fstatSync } from 'node:fs'
import { MemoryRegion, type RegionBacking, type RegionSource } from '../../memory/memory-region.ts'
import { mapFile, PAGE_BYTES, type Pages, replaceWithZeroes, reserve, unmap } from './address-space.ts'
import type { Descriptor } from './descriptor.ts'
import { memoryAt } from './ffi.ts'
import { Seal, sealsOf } from './memory-file.ts'

/** Maximum bytes of one buffer. Larger ones are not faster, and those of more than 4 GiB end the process. */
const WINDOW_BYTES = 1 << 30

/** Part of a file to map, in bytes. */
export interface MappingRange {
  /** First byte in the file, a multiple of 4. */
  readonly offset: number
  readonly length: number
  /** True for a copy-on-write mapping: writes reach neither the file nor other mappings. @default false */
  readonly private?: boolean
  /** True to omit `backing` from the regions: other processes cannot use the file. @default false */
  readonly hidden?: boolean
}

/** Region of guest memory that is mapped in this process, so that system calls can access it. */
export class MappedRegion extends MemoryRegion {
  #address: number | undefined

  /** @param locate returns the address of the first byte; called at the first use of `address` */
  constructor(
    base: number,
    size: number,
    source: RegionSource,
    private readonly locate: () => number,
    backing: RegionBacking | undefined,
  ) {
    super(base, size, source, backing)
  }

  /** Address of the first byte in this process. */
  get address(): number {
    this.#address ??= this.locate()
    return this.#address
  }
}

/** Unmaps pages when no mapping, region or view that uses them is reachable. */
const unreachable = new FinalizationRegistry<Pages>(unmap)
/** Pages of each view: keeps them mapped while the view is reachable. */
const kept = new WeakMap<ArrayBuffer, Pages>()

/**
 * Mapping of a part of a file.
 *
 *     const mapping = Mapping.of(descriptor, { offset: 0, length: size })
 *     const memory = new GuestMemory(mapping.regions(0x1_0000_0000))
 *     ...
 *     mapping.close()
 *
 * `close` releases the file. Views of a closed mapping read as zeroes, and writes to them have no effect on the file.
 */
export class Mapping {
  readonly length: number
  /** Reason why the file may shrink while it is mapped, for messages; undefined if it is sealed against that. */
  readonly mayShrink: string | undefined
  /** Windows by number, created at the first access: their number depends on the length that the peer sets. */
  readonly #windows = new Map<number, Uint8Array>()
  readonly #file: Descriptor
  readonly #offset: number
  /** True if other mappings of the file have the same pages. */
  readonly #shared: boolean
  /** Whole pages that contain the range; undefined if they were unmapped before the first use. */
  #pages: Pages | undefined
  /** True once a view exists or the address was read. */
  #used = false
  /** Offset of the range in the pages, in bytes. */
  readonly #lead: number

  private constructor(file: Descriptor, range: MappingRange, pages: Pages, lead: number) {
    this.#file = file
    this.#offset = range.offset
    this.#shared = range.private !== true && range.hidden !== true
    this.#pages = pages
    unreachable.register(pages, { ...pages }, pages)
    this.#lead = lead
    this.length = range.length
    this.mayShrink =
      (sealsOf(file) & Seal.SHRINK) === 0
        ? `${file.what} is not sealed: processes that share it can shrink it`
        : undefined
  }

  /**
   * Maps a part of a file for reading and writing. Takes ownership of the descriptor, even if the call fails.
   * @throws {SystemCallError}
   * @throws {RangeError} if the range ends past the end of the file: an access there would end the process
   */
  static of(file: Descriptor, range: MappingRange): Mapping {
    try {
      return Mapping.#map(file, range)
    } catch (error) {
      file.close()
      throw error
    }
  }

  static #map(file: Descriptor, range: MappingRange): Mapping {
    const { offset, length } = range
    const { size, blksize } = fstatSync(file.fd)
    if (!(Number.isSafeInteger(offset) && offset >= 0 && offset % 4 === 0)) {
      throw new RangeError(`${file.what}: cannot map from byte ${offset}`)
    }
    if (!(Number.isSafeInteger(length) && length > 0 && offset + length <= size)) {
      throw new RangeError(`${file.what}: cannot map ${length} bytes from ${offset} of a file of ${size}`)
    }
    // A file of huge pages is mapped in whole huge pages. Its block size is the size of such a page.
    const page = Math.max(PAGE_BYTES, blksize)
    const lead = offset % page
    const whole = Math.ceil((lead + length) / page) * page
    const pages = mapFile(`mapping ${file.what}`, file.fd, offset - lead, whole, range.private !== true)
    return new Mapping(file, range, pages, lead)
  }

  /** Address of the first byte of the range. */
  get address(): number {
    return this.#use().address + this.#lead
  }

  /** All bytes of the range. @throws {RangeError} if it exceeds one window of 1 GiB */
  get bytes(): Uint8Array {
    if (this.#lead + this.length > WINDOW_BYTES)
      throw new RangeError(`${this.#file.what}: ${this.length} bytes exceed the limit of one view, ${WINDOW_BYTES}`)
    return this.#window(0)
  }

  /**
   * Returns the mapping, or `length` bytes of it, as regions of guest memory that begin at guest address `base`. The
   * regions are adjacent and have at most 1 GiB each.
   */
  regions(base: number, start = 0, length = this.length): MappedRegion[] {
    const regions: MappedRegion[] = []
    const end = this.#lead + start + length
    for (let at = this.#lead + start; at < end; ) {
      const window = Math.floor(at / WINDOW_BYTES)
      const next = Math.min((window + 1) * WINDOW_BYTES, end)
      const from = at - this.#lead
      const skip = at - this.#windowStart(window)
      const source: RegionSource = () => {
        const { buffer, byteOffset } = this.#window(window)
        return { buffer, byteOffset: byteOffset + skip }
      }
      const backing = this.#shared ? fileAt(this.#file, this.#offset + from) : undefined
      regions.push(new MappedRegion(base + from - start, next - at, source, () => this.address + from, backing))
      at = next
    }
    return regions
  }

  /** Releases the file. I/O that is in flight in the kernel then accesses zeroes that replace the mapping. */
  close(): void {
    if (this.#file.closed) return
    if (this.#used) replaceWithZeroes(`unmapping ${this.#file.what}`, this.#use())
    else if (this.#pages) {
      unreachable.unregister(this.#pages)
      unmap(this.#pages)
      this.#pages = undefined
    }
    this.#file.close()
  }

  /** Returns the pages. After `close` without an earlier use, these are new pages of zeroes. */
  #use(): Pages {
    this.#used = true
    if (!this.#pages) {
      const purpose = `reading ${this.#file.what}, which is closed`
      this.#pages = reserve(purpose, this.#lead + this.length)
      unreachable.register(this.#pages, { ...this.#pages })
      replaceWithZeroes(purpose, this.#pages)
    }
    return this.#pages
  }

  /** Offset of a window in the pages: the first begins with the range, the others at multiples of the window size. */
  #windowStart(index: number): number {
    return Math.max(index * WINDOW_BYTES, this.#lead)
  }

  #window(index: number): Uint8Array {
    const known = this.#windows.get(index)
    if (known) return known
    const start = this.#windowStart(index)
    const end = Math.min((index + 1) * WINDOW_BYTES, this.#lead + this.length)
    const pages = this.#use()
    const buffer = memoryAt(pages.address + start, end - start)
    kept.set(buffer, pages)
    const window = new Uint8Array(buffer)
    this.#windows.set(index, window)
    return window
  }
}

/** Returns the descriptor at each use, because its number may be reused after the file is closed. */
function fileAt(file: Descriptor, offset: number): RegionBacking {
  return {
    get fd() {
      return file.fd
    },
    offset,
  }
}
