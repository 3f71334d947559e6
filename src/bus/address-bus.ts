import type { BusDevice } from './bus-device.ts'
import { BusError } from './bus-error.ts'

/** Range of addresses, in bytes. */
export interface AddressRange {
  readonly start: number
  readonly size: number
}

/** Accesses to a device, over all ranges that it ever had. */
interface AccessCounts {
  reads: number
  writes: number
}

/** A range on the bus. */
interface Window {
  readonly start: number
  /** Address after the last byte. */
  readonly end: number
  readonly device: BusDevice
  readonly counts: AccessCounts
}

/** Range on a bus, and how often its device was accessed, in this and in earlier ranges. */
interface RangeStatistics extends AddressRange, Readonly<AccessCounts> {
  readonly device: BusDevice
}

export interface BusStatistics {
  /** By ascending address. */
  readonly ranges: readonly RangeStatistics[]
  /** Accesses to addresses without a device. */
  readonly unmapped: Readonly<AccessCounts>
}

export interface AddressBusOptions {
  /** Name of the address space, for error messages. */
  readonly name: string
  /** Size of the address space in bytes. */
  readonly size: number
  /** Called after a range was inserted or removed. */
  readonly onChange?: (range: AddressRange, inserted: boolean) => void
}

/**
 * Address space of memory or of I/O ports: delivers each access to the device at its address.
 *
 *     const ports = new AddressBus({ name: 'I/O ports', size: 0x10000 })
 *     ports.insert({ start: 0x3f8, size: 8 }, serial)
 *     ports.read(0x3fd, 1)            // serial.read(5, 1)
 *     ports.read(0x2fd, 1)            // 0xff: no device is there
 *     ports.remove({ start: 0x3f8, size: 8 })
 *
 * Ranges do not overlap. An access that crosses the end of a range is made byte by byte, so that a device sees only
 * accesses within its range. Reads without a device return all ones, and writes without one are ignored.
 */
export class AddressBus {
  /** By ascending address. */
  readonly #windows: Window[] = []
  /** The window used last, which most accesses use again. */
  #last: Window | undefined
  /** Counts of each device, kept while it has no range. */
  readonly #counts = new WeakMap<BusDevice, AccessCounts>()
  readonly #unmapped: AccessCounts = { reads: 0, writes: 0 }

  constructor(private readonly options: AddressBusOptions) {}

  /** Puts a device at a range. @throws {BusError} if the range is not free, see `isFree` */
  insert(range: AddressRange, device: BusDevice): void {
    const { start, size } = range
    const { name } = this.options
    if (!this.#contains(range)) throw new BusError(`${name}: ${text(range)} is not within ${this.options.size} bytes`)
    const other = this.#overlapping(start, start + size)
    if (other) throw new BusError(`${name}: ${text(range)} overlaps ${text(rangeOf(other))}`)
    let counts = this.#counts.get(device)
    if (!counts) {
      counts = { reads: 0, writes: 0 }
      this.#counts.set(device, counts)
    }
    this.#windows.splice(this.#indexAfter(start), 0, { start, end: start + size, device, counts })
    this.options.onChange?.(range, true)
  }

  /** Removes a range that was inserted. @throws {BusError} if there is no such range */
  remove(range: AddressRange): void {
    const { start, size } = range
    const at = this.#indexAfter(start) - 1
    const window = this.#windows[at]
    if (window?.start !== start || window.end !== start + size) {
      throw new BusError(`${this.options.name}: ${text(range)} was not inserted`)
    }
    this.#windows.splice(at, 1)
    this.#last = undefined
    this.options.onChange?.(range, false)
  }

  /** Returns whether a range lies in the address space and overlaps no other. */
  isFree(range: AddressRange): boolean {
    return this.#contains(range) && !this.#overlapping(range.start, range.start + range.size)
  }

  /** Reads `width` (1, 2 or 4) bytes. @returns an unsigned value, all ones without a device */
  read(address: number, width: number): number {
    const window = this.#find(address)
    if (window !== undefined && address + width <= window.end) {
      window.counts.reads++
      return window.device.read(address - window.start, width)
    }
    if (this.#isSplit(address, width)) return this.#readBytes(address, width)
    this.#unmapped.reads++
    return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff
  }

  /** Writes `width` (1, 2 or 4) bytes; ignored without a device. */
  write(address: number, width: number, value: number): void {
    const window = this.#find(address)
    if (window !== undefined && address + width <= window.end) {
      window.counts.writes++
      window.device.write(address - window.start, width, value)
    } else if (this.#isSplit(address, width)) {
      for (let i = 0; i < width; i++) this.write(address + i, 1, (value >>> (8 * i)) & 0xff)
    } else {
      this.#unmapped.writes++
    }
  }

  statistics(): BusStatistics {
    return {
      ranges: this.#windows.map((window) => ({ ...rangeOf(window), device: window.device, ...window.counts })),
      unmapped: { ...this.#unmapped },
    }
  }

  #contains({ start, size }: AddressRange): boolean {
    return (
      Number.isInteger(start) && Number.isInteger(size) && start >= 0 && size > 0 && start <= this.options.size - size
    )
  }

  /** Returns a window that overlaps the addresses from `start` to `end`, exclusive. */
  #overlapping(start: number, end: number): Window | undefined {
    const next = this.#indexAfter(start)
    const before = this.#windows[next - 1]
    if (before && before.end > start) return before
    const after = this.#windows[next]
    return after && after.start < end ? after : undefined
  }

  /** Returns the index of the first window that starts after an address. */
  #indexAfter(address: number): number {
    const windows = this.#windows
    let low = 0
    let high = windows.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (windows[middle].start > address) high = middle
      else low = middle + 1
    }
    return low
  }

  #find(address: number): Window | undefined {
    const last = this.#last
    if (last !== undefined && address >= last.start && address < last.end) return last
    const window = this.#windows[this.#indexAfter(address) - 1]
    if (window === undefined || address >= window.end) return undefined
    this.#last = window
    return window
  }

  /** Returns whether an access that no window contains reaches one nevertheless. */
  #isSplit(address: number, width: number): boolean {
    return width > 1 && this.#overlapping(address, address + width) !== undefined
  }

  #readBytes(address: number, width: number): number {
    let value = 0
    for (let i = 0; i < width; i++) value |= this.read(address + i, 1) << (8 * i)
    return value >>> 0
  }
}

function rangeOf({ start, end }: Window): AddressRange {
  return { start, size: end - start }
}

function text({ start, size }: AddressRange): string {
  return `0x${start.toString(16)} to 0x${(start + size - 1).toString(16)}`
}
