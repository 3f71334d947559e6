import { fstatSync } from 'node:fs'
import { MemoryRegion, type RegionBacking, type RegionSource } from '../../memory/memory-region.ts'
import { mapFile, PAGE_BYTES, type Pages, replaceWithZeroes, reserve, unmap } from './address-space.ts'
import type { Descriptor } from './descriptor.ts'
import { memoryAt } from './ffi.ts'
import { Seal, sealsOf } from './memory-file.ts'

/** One buffer reaches this far. Larger ones are no faster, and those of more than 4 GiB end the process. */
const WINDOW_BYTES = 1 << 30

/** Which part of a file to map. */
export interface MappingRange {
  /** First byte in the file, a multiple of 4. */
  readonly offset: number
  readonly length: number
  /** What is written stays in this mapping, and reaches neither the file nor others. */
  readonly private?: boolean
  /** Its regions name no file, since its pages mean nothing to others. */
  readonly hidden?: boolean
}

/** A region of guest memory that lies in this process's address space, where system calls can reach it. */
export class MappedRegion extends MemoryRegion {
  #address: number | undefined

  /** @param locate where its first byte is */
  constructor(
    base: number,
    size: number,
    source: RegionSource,
    private readonly locate: () => number,
    backing: RegionBacking | undefined,
  ) {
    super(base, size, source, backing)
  }

  /** Where its first byte is. */
  get address(): number {
    this.#address ??= this.locate()
    return this.#address
  }
}

/** Address space goes back to the system when nothing here can touch it any more: no mapping, no region, no view. */
const unreachable = new FinalizationRegistry<Pages>(unmap)
/** What each view keeps from going back. */
const kept = new WeakMap<ArrayBuffer, Pages>()

/**
 * Shared mapping of a part of a file.
 *
 *     const mapping = Mapping.of(descriptor, { offset: 0, length: size })
 *     const memory = new GuestMemory(mapping.regions(0x1_0000_0000))
 *     ...
 *     mapping.close()
 *
 * `close` releases the file. Views that were kept read as meaningless zeroes, and accesses to them are harmless.
 */
export class Mapping {
  readonly length: number
  /** Why its end may vanish while it is in use, in words for people; undefined where the file promised that it does not. */
  readonly mayShrink: string | undefined
  /** Views by number, made when they are first looked at: a file has as many as its peer says it is long. */
  readonly #windows = new Map<number, Uint8Array>()
  readonly #file: Descriptor
  readonly #offset: number
  /** Whether others that map the file see the same pages. */
  readonly #shared: boolean
  /** What was asked of the system: whole pages. Undefined where they were given back before anything here used them. */
  #pages: Pages | undefined
  /** There are views, or addresses that the kernel was given. */
  #used = false
  /** Where the range begins in them. */
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
   * Maps a part of a file, to be read and written. The descriptor is the mapping's from the call on, even if that fails.
   * @throws {SystemCallError}
   * @throws {RangeError} where the file ends before the range does: touching that part would end the process
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
    // Files of huge pages are mapped in whole ones, whose size they tell as that of their blocks.
    const page = Math.max(PAGE_BYTES, blksize)
    const lead = offset % page
    const whole = Math.ceil((lead + length) / page) * page
    const pages = mapFile(`mapping ${file.what}`, file.fd, offset - lead, whole, range.private !== true)
    return new Mapping(file, range, pages, lead)
  }

  /** Where the first byte of the range is. */
  get address(): number {
    return this.#use().address + this.#lead
  }

  /** All of it as bytes. @throws {RangeError} where it is more than one window of 1 GiB */
  get bytes(): Uint8Array {
    if (this.#lead + this.length > WINDOW_BYTES)
      throw new RangeError(`${this.#file.what}: ${this.length} bytes are too many for one view`)
    return this.#window(0)
  }

  /**
   * Regions of guest memory, of at most 1 GiB each and touching, that are this mapping, or part of it, from guest address
   * `base` on.
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

  /** Releases the file. Operations in flight in the kernel end in memory that is not read. */
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

  /** Reserves the pages if that was not done yet. @returns where they are */
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

  /** Where a window begins in the pages: the first with the range, the others at whole windows. */
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
