import type { MemoryRegion } from '../../memory/memory-region.ts'
import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  AVAIL_RING,
  DESC_BYTES,
  USED_FLAGS,
  USED_IDX,
  USED_RING,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '../ring-layout.ts'
import { DescriptorTable } from './descriptor-table.ts'
import type { DriverOptions } from './driver-options.ts'
import type { GuestAllocator } from './guest-allocator.ts'
import { IndirectTables } from './indirect-tables.ts'
import type { Layout, Part, QueueDriver, RingAddresses } from './queue-driver.ts'

/** The driver's side of a split virtqueue. A token is the index of the request's first descriptor. @virtio 2.7.13 */
export class SplitDriver implements QueueDriver {
  readonly size: number
  readonly addresses: RingAddresses
  readonly region: MemoryRegion
  readonly descriptors: DescriptorTable
  token = -1
  written = 0
  pending = 0
  readonly #eventIdx: boolean
  readonly #inOrder: boolean
  readonly #tables: IndirectTables
  /** Offsets of the rings in the region, in 16-bit units; of `#usedWord` in 32-bit units. */
  readonly #available: number
  readonly #used: number
  readonly #usedWord: number
  /**
   * Circular list of unused descriptors, taken at the front and returned at the end. In-order rings need that order.
   */
  readonly #freeList: Uint16Array
  #freeFirst = 0
  #freeCount: number
  /** Next descriptor of the same request, by descriptor. */
  readonly #links: Uint16Array
  /** Number of descriptors of each request in flight, by head. */
  readonly #counts: Uint16Array
  /** In-order rings: circular list of heads in the order they were made available. */
  readonly #order: Uint16Array
  #next = 0
  #kicked = 0
  #collected = 0
  /** In-order rings: the last request of the batch being collected, or -1. */
  #batchLast = -1
  #batchWritten = 0

  constructor(allocator: GuestAllocator, options: DriverOptions) {
    const size = options.size
    this.size = size
    this.region = allocator.region
    this.#eventIdx = options.eventIdx ?? false
    this.#inOrder = options.inOrder ?? false
    this.addresses = {
      descriptorArea: allocator.allocate(DESC_BYTES * size),
      driverArea: allocator.allocate(6 + 2 * size),
      deviceArea: allocator.allocate(6 + 8 * size),
    }
    const { descriptorArea, driverArea, deviceArea } = this.addresses
    const base = this.region.base
    this.region.u8.fill(0, descriptorArea - base, descriptorArea - base + DESC_BYTES * size)
    this.region.u8.fill(0, driverArea - base, driverArea - base + 6 + 2 * size)
    this.region.u8.fill(0, deviceArea - base, deviceArea - base + 6 + 8 * size)
    this.descriptors = new DescriptorTable(this.region, descriptorArea)
    this.#tables = new IndirectTables(allocator)
    this.#available = (driverArea - base) / 2
    this.#used = (deviceArea - base) / 2
    this.#usedWord = (deviceArea - base) / 4
    this.#freeList = Uint16Array.from({ length: size }, (_, i) => i)
    this.#freeCount = size
    this.#links = new Uint16Array(size)
    this.#counts = new Uint16Array(size)
    this.#order = new Uint16Array(size)
  }

  get free(): number {
    return this.#freeCount
  }

  add(readable: readonly Part[], writable: readonly Part[], layout: Layout = 'direct'): number {
    const total = readable.length + writable.length
    // Number of parts in the ring; the remaining parts are in a table.
    const direct = layout === 'direct' || total === 0 ? total : layout === 'mixed' ? total >> 1 : 0
    const needed = direct < total ? direct + 1 : Math.max(total, 1)
    if (needed > this.#freeCount) return -1
    const head = this.#freeList[this.#freeFirst]
    this.#counts[head] = needed
    let index = head
    let position = 0
    for (let i = 0; i < needed; i++) {
      index = this.#freeList[this.#freeFirst]
      this.#freeFirst = (this.#freeFirst + 1) % this.size
      this.#freeCount--
      const next = this.#freeList[this.#freeFirst]
      this.#links[index] = next
      if (i === direct) break
      this.#describe(this.descriptors, index, readable, writable, position++, i + 1 < needed ? next : -1)
    }
    if (direct < total) {
      const table = this.#tables.get(index, total - direct)
      for (let i = 0; position < total; i++) {
        this.#describe(table, i, readable, writable, position++, position < total ? i + 1 : -1)
      }
      this.descriptors.describe(index, table.address, (total - direct) * DESC_BYTES)
      this.descriptors.setTail(index, VIRTQ_DESC_F_INDIRECT, 0)
    } else if (total === 0) {
      this.descriptors.describe(index, 0, 0)
      this.descriptors.setTail(index, 0, 0)
    }
    this.offer(head)
    this.pending++
    return head
  }

  /** Writes a head to the available ring without checks. The device sees it after `kick`. */
  offer(head: number): void {
    const slot = this.#next & (this.size - 1)
    this.region.u16[this.#available + AVAIL_RING + slot] = head
    this.#order[slot] = head
    this.#next = (this.#next + 1) & 0xffff
  }

  kick(): boolean {
    const before = this.#kicked
    const now = this.#next
    this.#kicked = now
    const halves = this.region.u16
    Atomics.store(halves, this.#available + AVAIL_IDX, now)
    if (this.#eventIdx) {
      const event = Atomics.load(halves, this.#used + 2 + 4 * this.size)
      return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff)
    }
    return now !== before && (Atomics.load(halves, this.#used + USED_FLAGS) & VIRTQ_USED_F_NO_NOTIFY) === 0
  }

  /** Available index that the device sees. Hostile tests set it. */
  get availableIndex(): number {
    return this.region.u16[this.#available + AVAIL_IDX]
  }

  set availableIndex(value: number) {
    this.region.u16[this.#available + AVAIL_IDX] = value
  }

  get usedIndex(): number {
    return this.region.u16[this.#used + USED_IDX]
  }

  collect(): boolean {
    const mask = this.size - 1
    if (this.#batchLast < 0) {
      if (Atomics.load(this.region.u16, this.#used + USED_IDX) === this.#collected) return false
      const at = this.#usedWord + USED_RING + (this.#collected & mask) * 2
      const words = this.region.u32
      this.#batchLast = words[at]
      this.#batchWritten = words[at + 1]
    }
    // With IN_ORDER a batch has one used entry, for its last request; earlier requests count as used. @virtio 2.7.9
    const head = this.#inOrder ? this.#order[this.#collected & mask] : this.#batchLast
    this.token = head
    this.written = head === this.#batchLast ? this.#batchWritten : 0xffff_ffff
    if (head === this.#batchLast) this.#batchLast = -1
    this.#collected = (this.#collected + 1) & 0xffff
    this.#release(head)
    return true
  }

  enableInterrupts(): boolean {
    const halves = this.region.u16
    if (this.#eventIdx) Atomics.store(halves, this.#available + AVAIL_RING + this.size, this.#collected)
    else Atomics.store(halves, this.#available + AVAIL_FLAGS, 0)
    return this.#batchLast < 0 && Atomics.load(halves, this.#used + USED_IDX) === this.#collected
  }

  disableInterrupts(): void {
    if (!this.#eventIdx) this.region.u16[this.#available + AVAIL_FLAGS] = VIRTQ_AVAIL_F_NO_INTERRUPT
  }

  #release(head: number): void {
    if (head >= this.size || this.#counts[head] === 0) return
    let index = head
    for (let count = this.#counts[head]; count > 0; count--) {
      this.#freeList[(this.#freeFirst + this.#freeCount) % this.size] = index
      this.#freeCount++
      index = this.#links[index]
    }
    this.#counts[head] = 0
    this.pending--
  }

  /** Writes part number `position` of the request into entry `index`, linked to `next` unless that is -1. */
  #describe(
    table: DescriptorTable,
    index: number,
    readable: readonly Part[],
    writable: readonly Part[],
    position: number,
    next: number,
  ): void {
    const reads = position < readable.length
    const part = reads ? readable[position] : writable[position - readable.length]
    table.describe(index, part.address, part.length)
    const flags = (reads ? 0 : VIRTQ_DESC_F_WRITE) | (next >= 0 ? VIRTQ_DESC_F_NEXT : 0)
    table.setTail(index, flags, Math.max(next, 0))
  }
}
