import type { MemoryRegion } from '../memory/memory-region.ts'
import type { Chain } from './chain.ts'
import { ChainFault } from './chain-builder.ts'
import type { SavedChain } from './chain-journal.ts'
import type { QueuePosition, QueueSetup } from './device-queue.ts'
import { findRingArea } from './ring-area.ts'
import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  AVAIL_RING,
  DESC_BYTES,
  DESC_TAIL,
  DESC_WORDS,
  USED_FLAGS,
  USED_IDX,
  USED_RING,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_USED_F_NO_NOTIFY,
} from './ring-layout.ts'
import { RingQueue } from './ring-queue.ts'

/**
 * The device's side of a split virtqueue. @virtio 2.7
 *
 * Indices are free-running and 16 bits wide; `& mask` gives the entry.
 *
 *     published    used      next                 seen
 *         |  pushed  | in flight |  available     |
 */
export class SplitQueue extends RingQueue {
  readonly #mask: number
  readonly #eventIdx: boolean
  readonly #descriptors: MemoryRegion
  readonly #available: MemoryRegion
  readonly #usedRegion: MemoryRegion
  /** Offsets of the areas in their regions, in elements of the view that reads them. */
  readonly #descriptorWord: number
  readonly #availableHalf: number
  readonly #usedWord: number
  readonly #usedHalf: number
  /** Next available entry to read. */
  #next = 0
  /** Available index as last read. */
  #seen = 0
  /** Next used entry to fill. */
  #used = 0
  /** Used index that the driver sees. */
  #published = 0
  /** Available index that `hasWork` reported last. */
  #reported = -1
  /** Available index for which notifications were enabled; -1 while they are disabled. */
  #armedAt = -1

  constructor(setup: QueueSetup) {
    super(setup)
    const { memory, size } = setup
    this.#mask = size - 1
    this.#eventIdx = setup.eventIdx
    // Without EVENT_IDX a driver need not allocate the event index (Linux always does), so a ring must be valid without
    // it.
    const event = setup.eventIdx ? 2 : 0
    const descriptors = findRingArea(memory, setup.descriptorArea, DESC_BYTES * size, 16)
    const available = findRingArea(memory, setup.driverArea, 4 + 2 * size + event, 2)
    const used = findRingArea(memory, setup.deviceArea, 4 + 8 * size + event, 4)
    const anywhere = memory.regions[0]
    this.#descriptors = descriptors?.region ?? anywhere
    this.#available = available?.region ?? anywhere
    this.#usedRegion = used?.region ?? anywhere
    this.#descriptorWord = (descriptors?.offset ?? 0) / 4
    this.#availableHalf = (available?.offset ?? 0) / 2
    this.#usedWord = (used?.offset ?? 0) / 4
    this.#usedHalf = (used?.offset ?? 0) / 2
    if (size < 1 || size > 32768 || (size & (size - 1)) !== 0)
      this.break(`queue size ${size} is not a power of two in 1 to 32768`)
    else if (!descriptors) this.break('descriptor table outside guest memory or misaligned')
    else if (!available) this.break('available ring outside guest memory or misaligned')
    else if (!used) this.break('used ring outside guest memory or misaligned')
    else if (setup.start) {
      this.#next = this.#seen = setup.start.available & 0xffff
      this.#used = this.#published = setup.start.used & 0xffff
    }
  }

  get position(): QueuePosition {
    return { available: this.#next, used: this.#used, inFlight: this.inFlight }
  }

  hasWork(): boolean {
    const index = Atomics.load(this.#available.u16, this.#availableHalf + AVAIL_IDX)
    // The chains may have been popped already, after a notification.
    if (index === this.#reported || index === this.#next || !this.live) return false
    this.#reported = index
    return true
  }

  protected findAvailable(): boolean {
    if (this.#next !== this.#seen) return true
    if (this.#refresh()) {
      this.#disarm()
      return true
    }
    if (!this.live || this.polled || this.#armedAt === this.#next) return false
    this.#arm()
    // The driver may have added an entry before it could see that notifications are enabled. @virtio 2.7.10
    if (!this.#refresh()) return false
    this.#disarm()
    return true
  }

  protected read(chain: Chain): ChainFault | undefined {
    const halves = this.#available.u16
    const head = halves[this.#availableHalf + AVAIL_RING + (this.#next & this.#mask)]
    this.#next = (this.#next + 1) & 0xffff
    return this.#readFrom(head, chain)
  }

  protected unread(): void {
    this.#next = (this.#next - 1) & 0xffff
  }

  protected readSaved(chain: Chain, saved: SavedChain): ChainFault | undefined {
    return this.#readFrom(saved.id, chain)
  }

  #readFrom(head: number, chain: Chain): ChainFault | undefined {
    chain.id = head
    const builder = this.builder
    builder.start(chain)
    const words = this.#descriptors.u32
    const size = this.size
    for (let index = head, remaining = size; ; remaining--) {
      if (index >= size) return ChainFault.INDEX
      if (remaining === 0) return ChainFault.TOO_LONG
      const at = this.#descriptorWord + index * DESC_WORDS
      const tail = words[at + DESC_TAIL]
      const flags = tail & 0xffff
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) return builder.addLinkedTable(words, at, flags)
      const fault = builder.add(words, at, flags)
      if (fault !== undefined) return fault
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return undefined
      index = tail >>> 16
    }
  }

  protected use(chain: Chain, written: number): void {
    const words = this.#usedRegion.u32
    const at = this.#usedWord + USED_RING + (this.#used & this.#mask) * 2
    words[at] = chain.id
    words[at + 1] = written
    this.#used = (this.#used + 1) & 0xffff
  }

  protected expose(): boolean | undefined {
    const before = this.#published
    const now = this.#used
    if (now === before) return undefined
    this.journal?.exposing(now)
    Atomics.store(this.#usedRegion.u16, this.#usedHalf + USED_IDX, now)
    this.journal?.exposed()
    this.#published = now
    this.#reportUsed(before, (now - before) & 0xffff)
    const available = this.#available.u16
    if (this.#eventIdx) {
      // The driver wants an interrupt if its `used_event` is among the entries just made visible. @virtio 2.7.7.2
      const event = Atomics.load(available, this.#availableHalf + AVAIL_RING + this.size)
      return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff)
    }
    return (Atomics.load(available, this.#availableHalf + AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
  }

  /** Reads the available index. @returns whether chains are available */
  #refresh(): boolean {
    const seen = Atomics.load(this.#available.u16, this.#availableHalf + AVAIL_IDX)
    const ahead = (seen - this.#next) & 0xffff
    if (ahead === 0) return false
    const unpublished = (this.#next - this.#published) & 0xffff
    if (ahead > this.size - unpublished) {
      this.break(
        `available index ${seen} is ${ahead} ahead of ${this.#next}, but ${this.size - unpublished} entries are free`,
      )
      return false
    }
    this.#seen = seen
    return true
  }

  /** Enables the notification for the entry at `#next`. @virtio 2.7.10.2 */
  #arm(): void {
    this.#armedAt = this.#next
    if (this.#eventIdx) this.#store(2 + 4 * this.size, this.#next)
    else this.#store(USED_FLAGS, 0)
  }

  /** Disables notifications until the ring was seen empty. */
  #disarm(): void {
    if (this.#armedAt < 0) return
    this.#armedAt = -1
    // With EVENT_IDX the driver passed the old event index and does not notify again.
    if (!this.#eventIdx) this.#store(USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY)
  }

  /** Stores a value in the used area. @param half offset in 16-bit units */
  #store(half: number, value: number): void {
    Atomics.store(this.#usedRegion.u16, this.#usedHalf + half, value)
    this.memory.wrote(this.#usedRegion, (this.#usedHalf + half) * 2, 2)
  }

  #reportUsed(from: number, count: number): void {
    const start = this.#usedHalf * 2
    const first = from & this.#mask
    const beforeWrap = Math.min(count, this.size - first)
    this.memory.wrote(this.#usedRegion, start + 4 + first * 8, beforeWrap * 8)
    if (beforeWrap < count) this.memory.wrote(this.#usedRegion, start + 4, (count - beforeWrap) * 8)
    // Last: bounce memory copies in this order, and the entries must reach the guest before the index.
    this.memory.wrote(this.#usedRegion, start + 2, 2)
  }
}
