import type { MemoryRegion } from '../memory/memory-region.ts'
import type { Chain } from './chain.ts'
import { ChainFault } from './chain-builder.ts'
import type { SavedChain } from './chain-journal.ts'
import type { QueuePosition, QueueSetup, RingPosition } from './device-queue.ts'
import { findRingArea } from './ring-area.ts'
import {
  DESC_BYTES,
  DESC_LEN,
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
} from './ring-layout.ts'
import { RingQueue } from './ring-queue.ts'

/**
 * The device's side of a packed virtqueue. @virtio 2.8
 *
 * Driver and device write to the same descriptor ring. Positions run over two rounds, 0 to 2 * size - 1; the wrap
 * counter is 0 in the second round.
 *
 *     published    used      next
 *         |  pushed  | in flight | available, up to the first descriptor that is not marked available
 *
 * A malformed chain is returned under the buffer id of its last descriptor. The ring is broken if a chain continues
 * past the available descriptors, or if more descriptors are available than the ring has free.
 */
export class PackedQueue extends RingQueue {
  readonly #eventIdx: boolean
  readonly #ring: MemoryRegion
  readonly #driverEvents: MemoryRegion
  readonly #deviceEvents: MemoryRegion
  /** Offsets of the areas in their regions, in elements of the view that reads them. */
  readonly #ringWord: number
  readonly #driverEventHalf: number
  readonly #deviceEventHalf: number
  /** Next descriptor to read. */
  #next = 0
  /** Next descriptor to mark used. */
  #used = 0
  /** First used descriptor that the driver cannot see yet. Its flags are stored last. */
  #published = 0
  /** Flags that `publish` stores in that descriptor; -1 if there is nothing to publish. */
  #publishedFlags = -1
  /** Number of descriptors read and not published as used; at most `size`. */
  #outstanding = 0
  /** Position that `hasWork` reported last. */
  #reported = -1
  /** Position for which notifications were enabled; -1 while they are disabled. */
  #armedAt = -1

  constructor(setup: QueueSetup) {
    super(setup)
    const { memory, size } = setup
    this.#eventIdx = setup.eventIdx
    const ring = findRingArea(memory, setup.descriptorArea, DESC_BYTES * size, 16)
    const driverEvents = findRingArea(memory, setup.driverArea, 4, 4)
    const deviceEvents = findRingArea(memory, setup.deviceArea, 4, 4)
    const anywhere = memory.regions[0]
    this.#ring = ring?.region ?? anywhere
    this.#driverEvents = driverEvents?.region ?? anywhere
    this.#deviceEvents = deviceEvents?.region ?? anywhere
    this.#ringWord = (ring?.offset ?? 0) / 4
    this.#driverEventHalf = (driverEvents?.offset ?? 0) / 2
    this.#deviceEventHalf = (deviceEvents?.offset ?? 0) / 2
    if (size < 1 || size > 32768) this.break(`queue size ${size} is not in 1 to 32768`)
    else if (!ring) this.break('descriptor ring outside guest memory or misaligned')
    else if (!driverEvents) this.break('driver event suppression outside guest memory or misaligned')
    else if (!deviceEvents) this.break('device event suppression outside guest memory or misaligned')
    else if (setup.start) this.#resumeAt(setup.start)
  }

  get position(): QueuePosition {
    return { available: this.#next, used: this.#used, inFlight: this.inFlight }
  }

  #resumeAt({ available, used }: RingPosition): void {
    if (available >= 2 * this.size || used >= 2 * this.size || this.#distance(used, available) > this.size) {
      this.break(`ring of ${this.size} descriptors cannot resume at available ${available}, used ${used}`)
      return
    }
    this.#next = available
    this.#used = this.#published = used
    this.#outstanding = this.#distance(used, available)
  }

  hasWork(): boolean {
    if (this.#next === this.#reported || !this.live || !this.#isNextAvailable()) return false
    this.#reported = this.#next
    return true
  }

  protected findAvailable(): boolean {
    if (this.#isNextAvailable()) {
      this.#disarm()
      return true
    }
    if (!this.live || this.polled || this.#armedAt === this.#next) return false
    this.#arm()
    // The driver may have added a chain before it could see that notifications are enabled.
    if (!this.#isNextAvailable()) return false
    this.#disarm()
    return true
  }

  protected read(chain: Chain): ChainFault | undefined {
    const builder = this.builder
    builder.start(chain)
    const words = this.#ring.u32
    const size = this.size
    const free = size - this.#outstanding
    let position = this.#next
    let fault: ChainFault | undefined
    for (let count = 1; ; count++) {
      const wrapped = position >= size
      const at = this.#ringWord + (wrapped ? position - size : position) * DESC_WORDS
      const tail = words[at + DESC_TAIL]
      const flags = tail >>> 16
      // The driver makes the first descriptor of a list available last. @virtio 2.8.6, 2.8.15
      if (count > free || !isAvailable(flags, wrapped)) {
        this.break('descriptor chain continues past the available descriptors')
        return undefined
      }
      if (fault === undefined) fault = this.#add(words, at, flags, count)
      this.journal?.descriptor(words, at)
      position = this.#advance(position, 1)
      if ((flags & VIRTQ_DESC_F_NEXT) !== 0) continue
      chain.id = tail & 0xffff
      chain.ringLength = count
      this.#outstanding += count
      this.#next = position
      return fault
    }
  }

  protected unread({ ringLength }: Chain): void {
    this.#next = this.#advance(this.#next, 2 * this.size - ringLength)
    this.#outstanding -= ringLength
  }

  protected readSaved(chain: Chain, { id, descriptors }: SavedChain): ChainFault | undefined {
    this.builder.start(chain)
    chain.id = id
    chain.ringLength = descriptors.length / DESC_WORDS
    for (let count = 1; count <= chain.ringLength; count++) {
      const at = (count - 1) * DESC_WORDS
      const fault = this.#add(descriptors, at, descriptors[at + DESC_TAIL] >>> 16, count)
      if (fault !== undefined) return fault
    }
    return undefined
  }

  /** @param count number of descriptors up to and including this one */
  #add(words: Uint32Array, at: number, flags: number, count: number): ChainFault | undefined {
    if ((flags & VIRTQ_DESC_F_INDIRECT) === 0) return this.builder.add(words, at, flags)
    return count > 1 ? ChainFault.INDIRECT_CHAINED : this.builder.addFlatTable(words, at, flags)
  }

  /** Writes one used descriptor for the whole chain and advances by the chain's length. @virtio 2.8.6 */
  protected use(chain: Chain, written: number): void {
    const size = this.size
    const wrapped = this.#used >= size
    const index = wrapped ? this.#used - size : this.#used
    const flags = (wrapped ? 0 : VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED) | (written > 0 ? VIRTQ_DESC_F_WRITE : 0)
    const words = this.#ring.u32
    const at = this.#ringWord + index * DESC_WORDS
    words[at + DESC_LEN] = written
    if (this.#publishedFlags < 0) {
      // The driver reads this descriptor first: until its flags change, it sees nothing of the batch.
      this.#publishedFlags = flags
      this.#ring.u16[(at + DESC_TAIL) * 2] = chain.id
    } else {
      words[at + DESC_TAIL] = chain.id | (flags << 16)
    }
    this.memory.wrote(this.#ring, (at + DESC_LEN) * 4, 8)
    this.#used = this.#advance(this.#used, chain.ringLength)
  }

  protected expose(): boolean | undefined {
    if (this.#publishedFlags < 0) return undefined
    const size = this.size
    const first = this.#ringWord + (this.#published % size) * DESC_WORDS
    this.journal?.exposing(this.#used)
    Atomics.store(this.#ring.u16, (first + DESC_TAIL) * 2 + 1, this.#publishedFlags)
    this.journal?.exposed()
    this.memory.wrote(this.#ring, (first + DESC_TAIL) * 4 + 2, 2)
    const exposed = this.#distance(this.#published, this.#used)
    this.#outstanding -= exposed
    this.#published = this.#used
    this.#publishedFlags = -1
    return this.#wantsInterrupt(exposed)
  }

  /** Whether the driver wants an interrupt for the last `exposed` descriptors. @virtio 2.8.10 */
  #wantsInterrupt(exposed: number): boolean {
    const events = this.#driverEvents.u16
    const flags = Atomics.load(events, this.#driverEventHalf + EVENT_FLAGS) & 3
    if (flags === RING_EVENT_FLAGS_DISABLE) return false
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIdx) return true
    const event = Atomics.load(events, this.#driverEventHalf + EVENT_POSITION)
    const position = (event & 0x7fff) + (event >= 0x8000 ? 0 : this.size)
    const behind = this.#distance(position, this.#used)
    return behind >= 1 && behind <= exposed
  }

  /** Whether the driver made the next descriptor available. */
  #isNextAvailable(): boolean {
    const wrapped = this.#next >= this.size
    const index = wrapped ? this.#next - this.size : this.#next
    const flags = Atomics.load(this.#ring.u16, (this.#ringWord + index * DESC_WORDS + DESC_TAIL) * 2 + 1)
    if (!isAvailable(flags, wrapped)) return false
    if (this.#outstanding < this.size) return true
    this.break(`more than the ring's ${this.size} descriptors made available`)
    return false
  }

  #arm(): void {
    this.#armedAt = this.#next
    if (this.#eventIdx) {
      const wrapped = this.#next >= this.size
      this.#store(EVENT_POSITION, wrapped ? this.#next - this.size : this.#next | 0x8000)
      this.#store(EVENT_FLAGS, RING_EVENT_FLAGS_DESC)
    } else {
      this.#store(EVENT_FLAGS, RING_EVENT_FLAGS_ENABLE)
    }
  }

  /** Disables notifications until the ring was seen empty. */
  #disarm(): void {
    if (this.#armedAt < 0) return
    this.#armedAt = -1
    // With EVENT_IDX the driver passed the armed position, and notifies there again only after two rounds.
    if (!this.#eventIdx || this.polled) this.#store(EVENT_FLAGS, RING_EVENT_FLAGS_DISABLE)
  }

  #store(half: number, value: number): void {
    Atomics.store(this.#deviceEvents.u16, this.#deviceEventHalf + half, value)
    this.memory.wrote(this.#deviceEvents, (this.#deviceEventHalf + half) * 2, 2)
  }

  #advance(position: number, by: number): number {
    const to = position + by
    return to >= 2 * this.size ? to - 2 * this.size : to
  }

  /** Number of descriptors from one position up to another; 0 if they are equal. */
  #distance(from: number, to: number): number {
    return from <= to ? to - from : to - from + 2 * this.size
  }
}

/** Whether AVAIL equals the driver's wrap counter and USED does not. @param wrapped true if it is 0 @virtio 2.8.1 */
function isAvailable(flags: number, wrapped: boolean): boolean {
  return (flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) === (wrapped ? VIRTQ_DESC_F_USED : VIRTQ_DESC_F_AVAIL)
}
