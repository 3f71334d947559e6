import type { MemoryRegion } from '../../memory/memory-region.ts'
import {
  DESC_BYTES,
  DESC_TAIL,
  DESC_WORDS,
  EVENT_FLAGS,
  EVENT_POSITION,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from '../ring-layout.ts'
import { DescriptorTable } from './descriptor-table.ts'
import type { DriverOptions } from './driver-options.ts'
import type { GuestAllocator } from './guest-allocator.ts'
import { IndirectTables } from './indirect-tables.ts'
import type { Layout, Part, QueueDriver, RingAddresses } from './queue-driver.ts'

/**
 * The driver's side of a packed virtqueue. A token is the request's buffer id. @virtio 2.8.21
 *
 * Positions run over two rounds of the ring, as in `PackedQueue`.
 */
export class PackedDriver implements QueueDriver {
  readonly size: number
  readonly addresses: RingAddresses
  readonly region: MemoryRegion
  readonly descriptors: DescriptorTable
  token = -1
  written = 0
  pending = 0
  free: number
  readonly #eventIdx: boolean
  readonly #inOrder: boolean
  readonly #tables: IndirectTables
  /** Offsets of the areas in the region, in 16-bit units. */
  readonly #ringHalf: number
  readonly #driverEvents: number
  readonly #deviceEvents: number
  /** Stack of unused buffer ids. */
  readonly #freeIds: Uint16Array
  #freeIdCount: number
  /** Number of descriptors of each request in flight, by buffer id. */
  readonly #counts: Uint16Array
  /** In-order rings: circular list of ids in the order they were made available. */
  readonly #order: Uint16Array
  #orderFirst = 0
  #next = 0
  #kicked = 0
  #collected = 0
  /** Flags of the first descriptor since the last kick, stored last so that all appear at once; -1 if none. */
  #firstFlags = -1
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
      driverArea: allocator.allocate(4),
      deviceArea: allocator.allocate(4),
    }
    const { descriptorArea, driverArea, deviceArea } = this.addresses
    const base = this.region.base
    this.region.u8.fill(0, descriptorArea - base, descriptorArea - base + DESC_BYTES * size)
    this.region.u8.fill(0, driverArea - base, driverArea - base + 4)
    this.region.u8.fill(0, deviceArea - base, deviceArea - base + 4)
    this.descriptors = new DescriptorTable(this.region, descriptorArea)
    this.#tables = new IndirectTables(allocator)
    this.#ringHalf = (descriptorArea - base) / 2
    this.#driverEvents = (driverArea - base) / 2
    this.#deviceEvents = (deviceArea - base) / 2
    this.free = size
    this.#freeIds = Uint16Array.from({ length: size }, (_, i) => size - 1 - i)
    this.#freeIdCount = size
    this.#counts = new Uint16Array(size)
    this.#order = new Uint16Array(size)
  }

  add(readable: readonly Part[], writable: readonly Part[], layout: Layout = 'direct'): number {
    const total = readable.length + writable.length
    // A packed list is either completely in the ring or completely in a table. @virtio 2.8.5
    const needed = layout === 'direct' || total === 0 ? Math.max(total, 1) : 1
    if (needed > this.free) return -1
    const id = this.#freeIds[--this.#freeIdCount]
    if (layout !== 'direct' && total > 0) {
      const table = this.#tables.get(id, total)
      for (let i = 0; i < total; i++) {
        const reads = i < readable.length
        const part = reads ? readable[i] : writable[i - readable.length]
        table.describe(i, part.address, part.length)
        table.setTail(i, 0, reads ? 0 : VIRTQ_DESC_F_WRITE)
      }
      this.offer(table.address, total * DESC_BYTES, VIRTQ_DESC_F_INDIRECT, id)
    } else if (total === 0) {
      this.offer(0, 0, 0, id)
    } else {
      for (let i = 0; i < total; i++) {
        const reads = i < readable.length
        const part = reads ? readable[i] : writable[i - readable.length]
        const flags = (reads ? 0 : VIRTQ_DESC_F_WRITE) | (i + 1 < total ? VIRTQ_DESC_F_NEXT : 0)
        this.offer(part.address, part.length, flags, id)
      }
    }
    this.#counts[id] = needed
    this.free -= needed
    this.#order[(this.#orderFirst + this.pending) % this.size] = id
    this.pending++
    return id
  }

  /** Writes one descriptor to the ring without checks. The device sees it after `kick`. */
  offer(address: number, length: number, flags: number, id: number): void {
    const wrapped = this.#next >= this.size
    const index = wrapped ? this.#next - this.size : this.#next
    const all = flags | (wrapped ? VIRTQ_DESC_F_USED : VIRTQ_DESC_F_AVAIL)
    this.descriptors.describe(index, address, length)
    if (this.#firstFlags < 0) {
      this.#firstFlags = all
      this.region.u16[this.#ringHalf + (index * DESC_WORDS + DESC_TAIL) * 2] = id
    } else {
      this.descriptors.setTail(index, id, all)
    }
    this.#next = this.#advance(this.#next, 1)
  }

  kick(): boolean {
    if (this.#firstFlags < 0) return false
    const first = this.#kicked % this.size
    Atomics.store(this.region.u16, this.#ringHalf + (first * DESC_WORDS + DESC_TAIL) * 2 + 1, this.#firstFlags)
    this.#firstFlags = -1
    const added = this.#distance(this.#kicked, this.#next)
    this.#kicked = this.#next
    const flags = Atomics.load(this.region.u16, this.#deviceEvents + EVENT_FLAGS) & 3
    if (flags === RING_EVENT_FLAGS_DISABLE) return false
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIdx) return true
    const event = Atomics.load(this.region.u16, this.#deviceEvents + EVENT_POSITION)
    const behind = this.#distance((event & 0x7fff) + (event >= 0x8000 ? 0 : this.size), this.#next)
    return behind >= 1 && behind <= added
  }

  collect(): boolean {
    if (this.#batchLast < 0) {
      const wrapped = this.#collected >= this.size
      const index = wrapped ? this.#collected - this.size : this.#collected
      if (!this.#isUsed(index, wrapped)) return false
      this.#batchLast = this.descriptors.tailLow(index)
      // The length is valid only with the WRITE flag. @virtio 2.8.4
      const writes = (this.descriptors.tailHigh(index) & VIRTQ_DESC_F_WRITE) !== 0
      this.#batchWritten = writes ? this.descriptors.length(index) : 0
    }
    // With IN_ORDER a batch has one used descriptor, for its last request; earlier ones count as used. @virtio 2.8.8
    const id = this.#inOrder ? this.#order[this.#orderFirst] : this.#batchLast
    this.token = id
    this.written = id === this.#batchLast ? this.#batchWritten : 0xffff_ffff
    if (id === this.#batchLast) this.#batchLast = -1
    const count = id < this.size ? this.#counts[id] : 0
    if (count === 0) {
      // A hostile test wrote this request to the ring: it has one descriptor.
      this.#collected = this.#advance(this.#collected, 1)
      return true
    }
    this.#collected = this.#advance(this.#collected, count)
    this.#counts[id] = 0
    this.free += count
    this.#freeIds[this.#freeIdCount++] = id
    this.#orderFirst = (this.#orderFirst + 1) % this.size
    this.pending--
    return true
  }

  enableInterrupts(): boolean {
    const halves = this.region.u16
    const wrapped = this.#collected >= this.size
    const index = wrapped ? this.#collected - this.size : this.#collected
    if (this.#eventIdx) {
      Atomics.store(halves, this.#driverEvents + EVENT_POSITION, wrapped ? index : index | 0x8000)
      Atomics.store(halves, this.#driverEvents + EVENT_FLAGS, RING_EVENT_FLAGS_DESC)
    } else {
      Atomics.store(halves, this.#driverEvents + EVENT_FLAGS, RING_EVENT_FLAGS_ENABLE)
    }
    return this.#batchLast < 0 && !this.#isUsed(index, wrapped)
  }

  disableInterrupts(): void {
    this.region.u16[this.#driverEvents + EVENT_FLAGS] = RING_EVENT_FLAGS_DISABLE
  }

  /** Whether AVAIL and USED both equal the device's wrap counter. @virtio 2.8.1 */
  #isUsed(index: number, wrapped: boolean): boolean {
    const flags = Atomics.load(this.region.u16, this.#ringHalf + (index * DESC_WORDS + DESC_TAIL) * 2 + 1)
    const both = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED
    return (flags & both) === (wrapped ? 0 : both)
  }

  #advance(position: number, by: number): number {
    const to = position + by
    return to >= 2 * this.size ? to - 2 * this.size : to
  }

  #distance(from: number, to: number): number {
    return from <= to ? to - from : to - from + 2 * this.size
  }
}
