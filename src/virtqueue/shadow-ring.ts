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

/** One chain may have this many bytes each way: it is held here, whole. */
const MAX_CHAIN_BYTES = 1 << 26
/** Chains with more than this are served before the next ones are fetched, and what was written goes first. */
const BATCH_BYTES = 1 << 22
const PIECE_BYTES = 1 << 20
/** Descriptors of one chain that are looked at: a table of more is refused by the queue. */
const MAX_DESCRIPTORS = 32768

export type DistantSetup = Pick<QueueSetup, 'memory' | 'size' | 'descriptorArea' | 'driverArea' | 'start'>

export interface DistantRingEvents {
  /** There may be chains to pop. */
  ready(): void
  /** Nothing more can be fetched. */
  broken(reason: string): void
}

/**
 * Brings a split ring, and what its chains may have a device read, into the shadow of memory that is elsewhere. Only when
 * a chain is whole here it becomes available in the shadow's ring: a queue never sees half of one.
 *
 *     const ring = new DistantRing(setup, remote, { ready: () => device.notify(0), broken })
 *     ring.look()                            // the driver notified
 *
 * In the shadow the driver never asks to be left alone, since how it changes its mind is not seen here in time. The queue
 * has to be `polled`, so that the driver notifies of everything.
 */
export class ShadowRing {
  readonly #memory: GuestMemory
  readonly #spans = new SpanList()
  /** The available index in the shadow. */
  #next: number
  #looking = false
  /** The driver notified again. */
  #again = false
  #closed = false

  constructor(
    private readonly setup: DistantSetup,
    private readonly remote: BounceMemory,
    private readonly events: DistantRingEvents,
  ) {
    this.#memory = setup.memory
    this.#next = (setup.start?.available ?? 0) & 0xffff
    this.#expose(this.#next)
  }

  /** Fetches what the driver made available, and has it served. */
  look(): void {
    this.#again = true
    if (this.#looking || this.#closed) return
    this.#looking = true
    this.remote.settle(this.#fetchAll())
  }

  /** Nothing more is fetched, nor told of. */
  close(): void {
    this.#closed = true
  }

  async #fetchAll(): Promise<void> {
    // Whoever called may have to answer the driver first.
    await undefined
    while (this.#again && !this.#closed) {
      this.#again = false
      const fault = await this.#pass()
      if (fault !== undefined && !this.#closed) {
        this.#closed = true
        // Where its memory is gone it is about to be stopped, and goes on when that is back.
        if (this.#availableRing()) this.events.broken(fault)
      }
    }
    this.#looking = false
  }

  /** @returns why nothing can be fetched any more */
  async #pass(): Promise<string | undefined> {
    const { size, descriptorArea, driverArea } = this.setup
    const head = await this.remote.read(driverArea, 4)
    if (!head) return 'the client does not let its available ring be read'
    const seen = head[2] | (head[3] << 8)
    const ahead = (seen - this.#next) & 0xffff
    if (ahead > size) return `available index ${seen} is further ahead of ${this.#next} than the queue is long`
    let next = this.#next
    if (ahead > 0) {
      const entries = await this.#fetch(driverArea + 4, 2 * size)
      const table = await this.#fetch(descriptorArea, DESC_BYTES * size)
      if (!entries || !table) return 'the client does not let its ring be read'
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
      this.#again = true
      await promiseOf(this.remote.settled())
    }
    return undefined
  }

  /** @returns how many bytes the chain has, or why it cannot be had */
  async #fetchChain(words: Uint32Array, head: number): Promise<number | string> {
    const readable: [address: number, length: number][] = []
    let total = 0
    const add = (table: Uint32Array, at: number, flags: number) => {
      const length = table[at + DESC_LEN]
      total += length
      if ((flags & VIRTQ_DESC_F_WRITE) === 0) readable.push([addressAt(table, at), length])
    }
    for (let index = head, left = this.setup.size; index < this.setup.size && left > 0; left--) {
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
    if (total > MAX_CHAIN_BYTES) return `a chain of ${total} bytes, in memory that is not shared`
    for (const [address, length] of readable) {
      // What lies outside is refused by the queue.
      if (!this.#memory.contains(address, length)) continue
      for (let done = 0; done < length; done += PIECE_BYTES) {
        const piece = await this.#fetch(address + done, Math.min(PIECE_BYTES, length - done))
        if (!piece) return `the client does not let ${length} bytes at ${address.toString(16)} be read`
      }
    }
    return total
  }

  /** Fetches an indirect table, and walks it. What is wrong with it is left to the queue to find. */
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
    if (!bytes) return `the client does not let a table at ${address.toString(16)} be read`
    const table = wordsOf(bytes)
    const count = Math.floor(length / DESC_BYTES)
    for (let index = 0, left = count; index < count && left > 0; left--) {
      const tail = table[index * DESC_WORDS + DESC_TAIL]
      add(table, index * DESC_WORDS, tail & 0xffff)
      if ((tail & VIRTQ_DESC_F_NEXT) === 0) return undefined
      index = tail >>> 16
    }
    return undefined
  }

  /** Brings bytes into the shadow. @returns them as well; undefined where they cannot be had */
  async #fetch(address: number, length: number): Promise<Uint8Array | undefined> {
    const bytes = await this.remote.read(address, length)
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

  /** Makes chains up to an index available in the shadow. A ring that is not all there the queue has refused. */
  #expose(index: number): void {
    const area = this.#availableRing()
    if (!area) return
    area.region.u16[area.offset / 2 + AVAIL_FLAGS] = 0
    Atomics.store(area.region.u16, area.offset / 2 + AVAIL_IDX, index)
  }
}

/** Descriptors as words; the bytes are a copy of our own. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.slice().buffer, 0, bytes.length >>> 2)
}

function addressAt(words: Uint32Array, at: number): number {
  return words[at + DESC_ADDR_LO] + words[at + DESC_ADDR_HI] * 2 ** 32
}
