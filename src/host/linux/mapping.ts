import { fstatSync } from 'node:fs'
import { MemoryRegion } from '../../memory/memory-region.ts'
import type { Descriptor } from './descriptor.ts'
import { memoryAt } from './ffi.ts'
import { Seal, sealsOf } from './memory-file.ts'
import { systemCall } from './system-call.ts'

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 0x01
const MAP_PRIVATE = 0x02
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20
const MAP_NORESERVE = 0x4000

/** Files are mapped from a multiple of this on: a page, of the largest ordinary kind. Huge ones tell theirs as block size. */
const PAGE_BYTES = 0x1_0000
/** One buffer reaches this far. Larger ones are no faster, and those of more than 4 GiB end the process. */
const WINDOW_BYTES = 1 << 30

const mmap = systemCall<
  [address: number, length: number, protection: number, flags: number, fd: number, offset: number]
>('intptr_t mmap(intptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)')
const munmap = systemCall<[address: number, length: number]>('int munmap(intptr_t address, size_t length)')

/** Which part of a file to map. */
export interface MappingRange {
  /** First byte in the file, a multiple of 4. */
  readonly offset: number
  readonly length: number
}

/** A region of guest memory that lies in this process's address space, where system calls can reach it. */
export class MappedRegion extends MemoryRegion {
  /** @param address where its first byte is */
  constructor(
    base: number,
    bytes: Uint8Array,
    readonly address: number,
    backing: { readonly fd: number; readonly offset: number },
  ) {
    super(base, bytes.length, () => bytes, backing)
  }
}

/** Address space goes back to the system when nothing here can touch it any more. */
const unreachable = new FinalizationRegistry<{ address: number; length: number }>(({ address, length }) => {
  munmap('giving back address space', address, length)
})

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
  /** What was asked of the system: whole pages. */
  readonly #pages: { readonly address: number; readonly length: number }

  private constructor(file: Descriptor, range: MappingRange, pages: { address: number; length: number }, lead: number) {
    this.#file = file
    this.#offset = range.offset
    this.#pages = pages
    this.address = pages.address + lead
    this.length = range.length
    this.#windows = makeWindows(pages.address, lead, range.length)
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
    const page = Math.max(PAGE_BYTES, blksize)
    const lead = offset % page
    const pages = { address: 0, length: Math.ceil((lead + length) / page) * page }
    const purpose = `mapping ${file.what}`
    const flags = MAP_SHARED | MAP_NORESERVE
    pages.address = mmap(purpose, 0, pages.length, PROT_READ | PROT_WRITE, flags, file.fd, offset - lead)
    return new Mapping(file, range, pages, lead)
  }

  /** All of it as bytes. @throws {RangeError} where it is more than one window of 1 GiB */
  get bytes(): Uint8Array {
    if (this.#windows.length > 1)
      throw new RangeError(`${this.#file.what}: ${this.length} bytes are too many for one view`)
    return this.#windows[0]
  }

  /** Regions of guest memory, of at most 1 GiB each and touching, that are this mapping from guest address `base` on. */
  regions(base: number): MappedRegion[] {
    const fd = this.#file.fd
    let at = 0
    return this.#windows.map((bytes) => {
      const region = new MappedRegion(base + at, bytes, this.address + at, { fd, offset: this.#offset + at })
      at += bytes.length
      return region
    })
  }

  /** Lets go of the file. What is still under way in the kernel ends in memory that nobody reads. */
  close(): void {
    if (this.#file.closed) return
    const { address, length } = this.#pages
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
    mmap(`unmapping ${this.#file.what}`, address, length, PROT_READ | PROT_WRITE, flags, -1, 0)
    this.#file.close()
  }
}

/**
 * Views of the bytes from `lead` on. All but the first begin at a whole page, so that the address space below each can be
 * given back by itself.
 */
function makeWindows(address: number, lead: number, length: number): Uint8Array[] {
  const windows: Uint8Array[] = []
  const end = lead + length
  for (let at = lead; at < end; ) {
    const start = at - (at % WINDOW_BYTES)
    const next = Math.min(start + WINDOW_BYTES, end)
    const buffer = memoryAt(address + at, next - at)
    unreachable.register(buffer, { address: address + start, length: next - start })
    windows.push(new Uint8Array(buffer))
    at = next
  }
  return windows
}
