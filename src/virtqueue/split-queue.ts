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
 * All indices run freely over 16 bits; `& mask` finds the entry.
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
  /** Where the areas start in their regions, in units of the view they are read through. */
  readonly #descriptorWord: number
  readonly #availableHalf: number
  readonly #usedWord: number
  readonly #usedHalf: number
  /** Next available entry to read. */
  #next = 0
  /** The available index as last seen. */
  #seen = 0
  /** Next used entry to fill. */
  #used = 0
  /** The used index as the driver sees it. */
  #published = 0
  /** The available index that `news` told of. */
  #reported = -1
  /** The available index at which the driver was asked to notify; -1 while it was not. */
  #armedAt = -1

  constructor(setup: QueueSetup) {
    super(setup)
    const { memory, size } = setup
    this.#mask = size - 1
    this.#eventIdx = setup.eventIdx
    // The entry for the event index is there even where nobody uses it: Linux allocates it always, others may not.
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
    if (size < 1 || size > 32768 || (size & (size - 1)) !== 0) this.break(`queue size ${size} is not a power of two`)
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
    // A notification may have served it already.
    if (index === this.#reported || index === this.#next || !this.live) return false
    this.#reported = index
    return true
  }

  protected look(): boolean {
    if (this.#next !== this.#seen) return true
    if (this.#refresh()) {
      this.#disarm()
      return true
    }
    if (!this.live || this.polled || this.#armedAt === this.#next) return false
    this.#arm()
    // The driver may have added an entry before it saw that it has to notify. @virtio 2.7.10
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

  protected readAgain(chain: Chain, saved: SavedChain): ChainFault | undefined {
    return this.#readFrom(saved.id, chain)
  }

  #readFrom(head: number, chain: Chain): ChainFault | undefined {
    chain.id = head
    const builder = this.builder
    builder.start(chain)
    const words = this.#descriptors.u32
    const size = this.size
    for (let index = head, left = size; ; left--) {
      if (index >= size) return ChainFault.INDEX
      if (left === 0) return ChainFault.TOO_LONG
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
      // Whether the entry the driver waits for is among those just exposed. @virtio 2.7.7.2
      const event = Atomics.load(available, this.#availableHalf + AVAIL_RING + this.size)
      return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff)
    }
    return (Atomics.load(available, this.#availableHalf + AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
  }

  /** Reads the available index. @returns whether there is something new */
  #refresh(): boolean {
    const seen = Atomics.load(this.#available.u16, this.#availableHalf + AVAIL_IDX)
    const ahead = (seen - this.#next) & 0xffff
    if (ahead === 0) return false
    const unpublished = (this.#next - this.#published) & 0xffff
    if (ahead > this.size - unpublished) {
      this.break(`available index ${seen} is further ahead of ${this.#next} than the queue is long`)
      return false
    }
    this.#seen = seen
    return true
  }

  /** Asks the driver to notify of the entry at `#next`. @virtio 2.7.10.2 */
  #arm(): void {
    this.#armedAt = this.#next
    if (this.#eventIdx) this.#store(2 + 4 * this.size, this.#next)
    else this.#store(USED_FLAGS, 0)
  }

  /** Work was found: the driver need not notify until the ring was seen empty. */
  #disarm(): void {
    if (this.#armedAt < 0) return
    this.#armedAt = -1
    // With event indices nothing is to be done: the driver passes the old one without a word.
    if (!this.#eventIdx) this.#store(USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY)
  }

  /** @param half where in the used area, in 16-bit units */
  #store(half: number, value: number): void {
    Atomics.store(this.#usedRegion.u16, this.#usedHalf + half, value)
    this.memory.wrote(this.#usedRegion, (this.#usedHalf + half) * 2, 2)
  }

  #reportUsed(from: number, count: number): void {
    const start = this.#usedHalf * 2
    const first = from & this.#mask
    const straight = Math.min(count, this.size - first)
    this.memory.wrote(this.#usedRegion, start + 4 + first * 8, straight * 8)
    if (straight < count) this.memory.wrote(this.#usedRegion, start + 4, (count - straight) * 8)
    // Last, for who copies what is told of: the entries have to be there before the index says so.
    this.memory.wrote(this.#usedRegion, start + 2, 2)
  }
}
