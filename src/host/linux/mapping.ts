import { fstatSync } from 'node:fs'
import { MemoryRegion, type RegionBacking } from '../../memory/memory-region.ts'
import { mapFile, PAGE_BYTES, type Pages, replaceWithZeroes, unmap } from './address-space.ts'
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
  /** @param address where its first byte is */
  constructor(
    base: number,
    bytes: Uint8Array,
    readonly address: number,
    backing: RegionBacking | undefined,
  ) {
    super(base, bytes.length, () => bytes, backing)
  }
}

/** Address space goes back to the system when nothing here can touch it any more. */
const unreachable = new FinalizationRegistry<Pages>(unmap)

/**
 * A part of a file in memory, shared with whoever maps it too.
 *
 *     const mapping = Mapping.of(descriptor, { offset: 0, length: size })
 *     const memory = new GuestMemory(mapping.regions(0x1_0000_0000))
 *     ...
 *     mapping.close()
 *
 * After `close` the file is let go; views that somebody kept show zeroes that mean nothing, and touching them harms nobody.
 */
export class Mapping {
  /** Where the first byte of the range is. */
  readonly address: number
  readonly length: number
  /** Why its end may vanish while it is in use, in words for people; undefined where the file promised that it does not. */
  readonly mayShrink: string | undefined
  readonly #windows: readonly Uint8Array[]
  readonly #file: Descriptor
  readonly #offset: number
  /** Whether others that map the file see the same pages. */
  readonly #shared: boolean
  /** What was asked of the system: whole pages. */
  readonly #pages: Pages

  private constructor(file: Descriptor, range: MappingRange, pages: Pages, lead: number) {
    this.#file = file
    this.#offset = range.offset
    this.#shared = range.private !== true && range.hidden !== true
    this.#pages = pages
    this.address = pages.address + lead
    this.length = range.length
    this.#windows = makeWindows(pages, lead, range.length)
    this.mayShrink =
      (sealsOf(file) & Seal.SHRINK) === 0 ? `${file.what} is not sealed: whoever shares it can shrink it` : undefined
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

  /** All of it as bytes. @throws {RangeError} where it is more than one window of 1 GiB */
  get bytes(): Uint8Array {
    if (this.#windows.length > 1)
      throw new RangeError(`${this.#file.what}: ${this.length} bytes are too many for one view`)
    return this.#windows[0]
  }

  /**
   * Regions of guest memory, of at most 1 GiB each and touching, that are this mapping, or part of it, from guest address
   * `base` on.
   */
  regions(base: number, start = 0, length = this.length): MappedRegion[] {
    const end = start + length
    const regions: MappedRegion[] = []
    let at = 0
    for (const window of this.#windows) {
      const from = Math.max(start, at)
      const bytes = window.subarray(from - at, Math.max(0, end - at))
      at += window.length
      if (bytes.length === 0) continue
      const backing = this.#shared ? fileAt(this.#file, this.#offset + from) : undefined
      regions.push(new MappedRegion(base + from - start, bytes, this.address + from, backing))
    }
    return regions
  }

  /** Lets go of the file. What is still under way in the kernel ends in memory that nobody reads. */
  close(): void {
    if (this.#file.closed) return
    replaceWithZeroes(`unmapping ${this.#file.what}`, this.#pages)
    this.#file.close()
  }
}

/** The number is asked for at each use: once the file is closed it is somebody else's, and who still has the region is told so. */
function fileAt(file: Descriptor, offset: number): RegionBacking {
  return {
    get fd() {
      return file.fd
    },
    offset,
  }
}

/**
 * Views of the bytes from `lead` on. All but the first begin at a whole page, so that the address space below each can be
 * given back by itself.
 */
function makeWindows(pages: Pages, lead: number, length: number): Uint8Array[] {
  const windows: Uint8Array[] = []
  const end = lead + length
  for (let start = 0; start < end; start += WINDOW_BYTES) {
    const at = Math.max(start, lead)
    const next = Math.min(start + WINDOW_BYTES, end)
    const buffer = memoryAt(pages.address + at, next - at)
    const covers = next === end ? pages.length - start : WINDOW_BYTES
    unreachable.register(buffer, { address: pages.address + start, length: covers })
    windows.push(new Uint8Array(buffer))
  }
  return windows
}
