import type { BounceMemory } from '../memory/bounce-memory.ts'
import { copyBytes } from '../memory/copy-bytes.ts'
import type { GuestMemory } from '../memory/guest-memory.ts'
import { SpanList } from '../memory/span-list.ts'
import { promiseOf } from '../pending/pending.ts'
import type { QueueSetup } from './device-queue.ts'
import { findRingArea, type RingArea } from './ring-area.ts'
import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  DESC_ADDR_HI,
  DESC_ADDR_LO,
  DESC_BYTES,
  DESC_LEN,
  DESC_TAIL,
  DESC_WORDS,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from './ring-layout.ts'

/** Maximum bytes of one chain, readable and writable together, because a whole chain is held in bounce memory. */
const MAX_CHAIN_BYTES = 1 << 26
/** Bytes of chains after which a batch ends: it is served and its writes are flushed before more chains are fetched. */
const BATCH_BYTES = 1 << 22
/** Maximum bytes of one read message. */
const PIECE_BYTES = 1 << 20
/** Maximum entries of an indirect table that are fetched. The queue refuses longer tables. */
const MAX_DESCRIPTORS = 32768

export type ShadowRingSetup = Pick<QueueSetup, 'memory' | 'size' | 'descriptorArea' | 'driverArea' | 'start'>

export interface ShadowRingEvents {
  /** Called when chains may be available in the shadow ring. */
  ready(): void
  /** Called when the ring can no longer be followed. */
  broken(reason: string): void
}

/**
 * Copy, in bounce memory, of a split ring that cannot be mapped, and of the readable bytes of its chains. A chain
 * becomes available in the copy only after it was fetched completely.
 *
 *     const ring = new ShadowRing(setup, bounce, { ready: () => device.notify(0), broken })
 *     ring.fetchAvailable()                  // the driver notified
 *
 * Interrupt suppression is ignored in the shadow ring, because the driver's `flags` may be stale. The queue must be
 * `polled`, so that it never suppresses notifications: each one makes the ring fetch.
 */
export class ShadowRing {
  readonly #memory: GuestMemory
  readonly #spans = new SpanList()
  /** Available index of the shadow ring. */
  #next: number
  #fetching = false
  /** True if the driver notified since the last batch began. */
  #notified = false
  #closed = false

  constructor(
    private readonly setup: ShadowRingSetup,
    private readonly bounce: BounceMemory,
    private readonly events: ShadowRingEvents,
  ) {
    this.#memory = setup.memory
    this.#next = (setup.start?.available ?? 0) & 0xffff
    this.#expose(this.#next)
  }

  /** Starts to fetch the available chains and to report them by `ready`. Call it when the driver notified. */
  fetchAvailable(): void {
    this.#notified = true
    if (this.#fetching || this.#closed) return
    this.#fetching = true
    this.bounce.run(this.#fetchAll())
  }

  /** Stops fetching. No event is called afterwards. */
  close(): void {
    this.#closed = true
  }

  async #fetchAll(): Promise<void> {
    // The caller may have to reply to the driver's message before it sends one.
    await undefined
    while (this.#notified && !this.#closed) {
      this.#notified = false
      const fault = await this.#fetchBatch()
      if (fault !== undefined && !this.#closed) {
        this.#closed = true
        // If the ring is no longer in guest memory, the queue is about to be stopped and is resumed when memory
        // returns.
        if (this.#availableRing()) this.events.broken(fault)
      }
    }
    this.#fetching = false
  }

  /** Fetches one batch of chains. @returns the reason why the ring is broken, if it is */
  async #fetchBatch(): Promise<string | undefined> {
    const { size, descriptorArea, driverArea } = this.setup
    const head = await this.bounce.read(driverArea, 4)
    if (!head) return 'reading the available ring by message failed'
    const seen = head[2] | (head[3] << 8)
    const ahead = (seen - this.#next) & 0xffff
    if (ahead > size) return `available index ${seen} is ${ahead} ahead of ${this.#next}, but the queue size is ${size}`
    let next = this.#next
    if (ahead > 0) {
      const entries = await this.#fetch(driverArea + 4, 2 * size)
      const table = await this.#fetch(descriptorArea, DESC_BYTES * size)
      if (!entries || !table) return 'reading the ring by message failed'
      const words = wordsOf(table)
      for (let bytes = 0; next !== seen && bytes < BATCH_BYTES; next = (next + 1) & 0xffff) {
        const at = 2 * (next & (size - 1))
        const chain = await this.#fetchChain(words, entries[at] | (entries[at + 1] << 8))
        if (typeof chain === 'string') return chain
        bytes += chain
      }
    }
    if (this.#closed) return undefined
    this.#next = next
    this.#expose(next)
    this.events.ready()
    if (next !== seen) {
      this.#notified = true
      await promiseOf(this.bounce.flushed())
    }
    return undefined
  }

  /** Fetches one chain. @returns its bytes, readable and writable, or the reason why it cannot be fetched */
  async #fetchChain(words: Uint32Array, head: number): Promise<number | string> {
    const readable: [address: number, length: number][] = []
    let total = 0
    const add = (table: Uint32Array, at: number, flags: number) => {
      const length = table[at + DESC_LEN]
      total += length
      if ((flags & VIRTQ_DESC_F_WRITE) === 0) readable.push([addressAt(table, at), length])
    }
    for (let index = head, steps = this.setup.size; index < this.setup.size && steps > 0; steps--) {
      const at = index * DESC_WORDS
      const tail = words[at + DESC_TAIL]
      if ((tail & VIRTQ_DESC_F_INDIRECT) !== 0) {
        const fault = await this.#walkTable(words, at, add)
        if (fault !== undefined) return fault
        break
      }
      add(words, at, tail & 0xffff)
      if ((tail & VIRTQ_DESC_F_NEXT) === 0) break
      index = tail >>> 16
    }
    if (total > MAX_CHAIN_BYTES) {
      return `chain of ${total} bytes exceeds the limit of ${MAX_CHAIN_BYTES} for memory that is not shared`
    }
    for (const [address, length] of readable) {
      // The queue refuses chains with addresses outside guest memory.
      if (!this.#memory.contains(address, length)) continue
      for (let done = 0; done < length; done += PIECE_BYTES) {
        const piece = await this.#fetch(address + done, Math.min(PIECE_BYTES, length - done))
        if (!piece) return `reading ${length} bytes at 0x${address.toString(16)} by message failed`
      }
    }
    return total
  }

  /** Fetches an indirect table and follows its entries. The queue finds and reports malformed tables. */
  async #walkTable(
    words: Uint32Array,
    at: number,
    add: (table: Uint32Array, at: number, flags: number) => void,
  ): Promise<string | undefined> {
    const address = addressAt(words, at)
    const length = words[at + DESC_LEN]
    if (length === 0 || length > MAX_DESCRIPTORS * DESC_BYTES || !this.#memory.contains(address, length)) {
      return undefined
    }
    const bytes = await this.#fetch(address, length)
    if (!bytes) return `reading the indirect table at 0x${address.toString(16)} by message failed`
    const table = wordsOf(bytes)
    const count = Math.floor(length / DESC_BYTES)
    for (let index = 0, steps = count; index < count && steps > 0; steps--) {
      const tail = table[index * DESC_WORDS + DESC_TAIL]
      add(table, index * DESC_WORDS, tail & 0xffff)
      if ((tail & VIRTQ_DESC_F_NEXT) === 0) return undefined
      index = tail >>> 16
    }
    return undefined
  }

  /** Copies bytes of the guest into bounce memory. @returns the bytes; undefined if they cannot be read or stored */
  async #fetch(address: number, length: number): Promise<Uint8Array | undefined> {
    const bytes = await this.bounce.read(address, length)
    const spans = this.#spans
    spans.clear()
    if (!bytes || this.#closed || !this.#memory.translate(address, length, spans)) return undefined
    for (let i = 0, at = 0; i < spans.count; at += spans.lengths[i++]) {
      copyBytes(bytes, at, spans.regions[i].u8, spans.offsets[i], spans.lengths[i])
    }
    return bytes
  }

  #availableRing(): RingArea | undefined {
    return findRingArea(this.#memory, this.setup.driverArea, 4 + 2 * this.setup.size, 2)
  }

  /** Makes chains up to `index` available in the shadow ring. The queue refuses a ring outside guest memory. */
  #expose(index: number): void {
    const area = this.#availableRing()
    if (!area) return
    area.region.u16[area.offset / 2 + AVAIL_FLAGS] = 0
    Atomics.store(area.region.u16, area.offset / 2 + AVAIL_IDX, index)
  }
}

/** Returns a copy of `bytes` as 32-bit words. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.slice().buffer, 0, bytes.length >>> 2)
}

function addressAt(words: Uint32Array, at: number): number {
  return words[at + DESC_ADDR_LO] + words[at + DESC_ADDR_HI] * 2 ** 32
}
