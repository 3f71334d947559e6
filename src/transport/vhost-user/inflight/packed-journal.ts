import type { Chain } from '../../../virtqueue/chain.ts'
import type { ChainJournal, SavedChain } from '../../../virtqueue/chain-journal.ts'
import type { RingPosition } from '../../../virtqueue/device-queue.ts'
import { DESC_LEN, DESC_TAIL, DESC_WORDS, VIRTQ_DESC_F_NEXT } from '../../../virtqueue/ring-layout.ts'
import type { InflightRegion, RegionLayout } from './inflight-area.ts'
import { nextCounter } from './split-journal.ts'

// A packed queue's region                                                       @vhost-user Inflight I/O tracking
//
//   0          8         10         12          14              16
//   | features | version | desc_num | free_head | old_free_head |
//
//   16         18             20          21              22         32
//   | used_idx | old_used_idx | used_wrap | old_used_wrap |          | desc[0] ...
//
// One entry a descriptor. Entries of a chain are linked by `next`, and so are free entries.
//
//   0          1   2      4      6     8         16   18      20    24
//   | inflight |   | next | last | num | counter | id | flags | len | addr |
//
export const PACKED_LAYOUT: RegionLayout = { head: 32, entry: 32 }
const VERSION = 4
const DESC_NUM = 5
const FREE_HEAD = 6
const OLD_FREE_HEAD = 7
const USED_IDX = 8
const OLD_USED_IDX = 9 // u16 indices
const USED_WRAP = 20
const OLD_USED_WRAP = 21 // u8 indices
const inflightAt = (entry: number) => 32 + entry * 32 // u8 index
const nextAt = (entry: number) => 16 + entry * 16 + 1 // u16 indices
const lastAt = (entry: number) => 16 + entry * 16 + 2
const numAt = (entry: number) => 16 + entry * 16 + 3
const idAt = (entry: number) => 16 + entry * 16 + 8
const counterAt = (entry: number) => 8 + entry * 8 + 2 // u32 indices
const wordsAt = (entry: number) => 8 + entry * 8 + 4

const CURRENT_VERSION = 1

/** Entries of a chain in flight, in order. */
interface FoundChain {
  readonly entries: readonly number[]
  readonly counter: number
}

/**
 * Journal of a packed queue: chains in flight with their descriptors, because those in the ring are overwritten.
 *
 * Each change updates `free_head` and `used_idx` first and their old values last: if they differ, the process ended in
 * between. Used chains are linked into the free list only when they become visible, because chains may be taken and
 * used in any order before that.
 *
 * Other processes can write to the region. Its content is used once, when a queue opens; afterwards only the private
 * copy of the links is used.
 */
export class PackedJournal implements ChainJournal {
  readonly unfinished: readonly SavedChain[]
  /** Position at which the ring continues. */
  readonly start: RingPosition
  readonly #region: InflightRegion
  readonly #size: number
  readonly #next: Uint16Array
  /** Last entry of a chain, by its first entry. */
  readonly #last: Uint16Array
  /** First entry of a chain, by its slot in the queue. */
  readonly #entryOf: Uint16Array
  #freeHead = 0
  #counter = 0
  /** Chain that is being read: its first entry, and its number of entries, 0 if there is no chain. */
  #head = 0
  #reading = 0
  /** First entries of used chains that are not visible yet. */
  readonly #batch: Uint16Array
  #batched = 0
  /** First entry of each of `unfinished`. */
  readonly #savedEntry = new Map<SavedChain, number>()

  /**
   * @param size queue size, at most that of the region
   * @param base position from the front-end; if the region was in use, the position in the region is used
   * @param isAvailable returns true if the descriptor at a position (as in `RingPosition`) is still available
   */
  constructor(region: InflightRegion, size: number, base: RingPosition, isAvailable: (position: number) => boolean) {
    this.#region = region
    this.#size = size
    this.#next = new Uint16Array(size)
    this.#last = new Uint16Array(size)
    this.#entryOf = new Uint16Array(size)
    this.#batch = new Uint16Array(size)
    const { u16 } = region
    const known = u16[VERSION] === CURRENT_VERSION && u16[DESC_NUM] === size && this.#commit(isAvailable)
    const found = known ? this.#find() : undefined
    if (!found) {
      this.#clear(base.used)
      this.unfinished = []
      this.start = base
      return
    }
    const used = this.#position(USED_IDX, USED_WRAP)
    const taken = found.reduce((sum, { entries }) => sum + entries.length, 0)
    this.unfinished = found.map((chain) => this.#save(chain))
    this.start = { available: (used + taken) % (2 * size), used }
  }

  descriptor(words: Uint32Array, at: number): void {
    const { u8, u16, u32 } = this.#region
    const entry = this.#freeHead
    // Always true for valid rings: the region has an entry for each descriptor.
    if (entry >= this.#size) return
    if (this.#reading === 0) {
      this.#head = entry
      u16[numAt(entry)] = 0
      u32[counterAt(entry)] = this.#counter
      u32[counterAt(entry) + 1] = this.#counter / 2 ** 32
      this.#counter++
      u8[inflightAt(entry)] = 1
    }
    const last = ((words[at + DESC_TAIL] >>> 16) & VIRTQ_DESC_F_NEXT) === 0
    if (last) u16[lastAt(this.#head)] = this.#last[this.#head] = entry
    u16[numAt(this.#head)] = ++this.#reading
    const to = wordsAt(entry)
    u32[to] = words[at + DESC_TAIL]
    u32[to + 1] = words[at + DESC_LEN]
    u32[to + 2] = words[at]
    u32[to + 3] = words[at + 1]
    this.#freeHead = this.#next[entry]
    u16[FREE_HEAD] = this.#freeHead
    if (!last) return
    this.#reading = 0
    u16[OLD_FREE_HEAD] = this.#freeHead
  }

  taken(chain: Chain): void {
    this.#entryOf[chain.slot] = this.#head
  }

  resumed(chain: Chain, saved: SavedChain): void {
    this.#entryOf[chain.slot] = this.#savedEntry.get(saved) ?? 0
  }

  used(chain: Chain): void {
    if (this.#batched < this.#size) this.#batch[this.#batched++] = this.#entryOf[chain.slot]
  }

  exposing(used: number): void {
    const { u8, u16 } = this.#region
    for (let i = 0; i < this.#batched; i++) {
      const entry = this.#batch[i]
      const last = this.#last[entry]
      this.#next[last] = u16[nextAt(last)] = this.#freeHead
      this.#freeHead = entry
    }
    u16[FREE_HEAD] = this.#freeHead
    u16[USED_IDX] = used % this.#size
    u8[USED_WRAP] = used < this.#size ? 1 : 0
  }

  exposed(): void {
    const { u8 } = this.#region
    for (let i = 0; i < this.#batched; i++) u8[inflightAt(this.#batch[i])] = 0
    this.#batched = 0
    this.#makeOld()
  }

  /** Invalidates the region: no chain is in flight, and the next owner starts at the position from its front-end. */
  release(): void {
    this.#region.u16[VERSION] = 0
  }

  #makeOld(): void {
    const { u8, u16 } = this.#region
    u16[OLD_FREE_HEAD] = u16[FREE_HEAD]
    u16[OLD_USED_IDX] = u16[USED_IDX]
    u8[OLD_USED_WRAP] = u8[USED_WRAP]
  }

  /** Completes or reverts the last publication. @returns false if the region is inconsistent */
  #commit(isAvailable: (position: number) => boolean): boolean {
    const { u8, u16 } = this.#region
    if (u16[USED_IDX] >= this.#size || u16[OLD_USED_IDX] >= this.#size) return false
    const old = this.#position(OLD_USED_IDX, OLD_USED_WRAP)
    if (old !== this.#position(USED_IDX, USED_WRAP) && !isAvailable(old)) this.#makeOld()
    u16[FREE_HEAD] = u16[OLD_FREE_HEAD]
    u16[USED_IDX] = u16[OLD_USED_IDX]
    u8[USED_WRAP] = u8[OLD_USED_WRAP]
    return true
  }

  /** Returns the chains in flight, oldest first; undefined if the lists are inconsistent. */
  #find(): FoundChain[] | undefined {
    const { u8, u16, u32 } = this.#region
    const size = this.#size
    const seen = new Uint8Array(size)
    let free = 0
    this.#freeHead = u16[FREE_HEAD]
    for (let i = 0; i < size; i++) this.#next[i] = u16[nextAt(i)]
    for (let entry = this.#freeHead; entry < size && seen[entry] === 0; entry = this.#next[entry]) {
      seen[entry] = 1
      free++
      u8[inflightAt(entry)] = 0
    }
    const chains: FoundChain[] = []
    let taken = 0
    for (let head = 0; head < size; head++) {
      if (u8[inflightAt(head)] !== 1) continue
      const entries: number[] = []
      const count = u16[numAt(head)]
      for (let entry = head; entries.length < count && entry < size && seen[entry] === 0; entry = this.#next[entry]) {
        seen[entry] = 1
        entries.push(entry)
      }
      if (entries.length === 0 || entries.length !== count) return undefined
      taken += count
      const at = counterAt(head)
      chains.push({ entries, counter: u32[at] + u32[at + 1] * 2 ** 32 })
    }
    if (free + taken !== size) return undefined
    chains.sort((a, b) => a.counter - b.counter)
    this.#counter = nextCounter(chains.at(-1)?.counter)
    return chains
  }

  /** Returns the descriptors of a chain as they were in the ring. */
  #save({ entries }: FoundChain): SavedChain {
    const { u16, u32 } = this.#region
    const descriptors = new Uint32Array(entries.length * DESC_WORDS)
    for (const [i, entry] of entries.entries()) {
      const from = wordsAt(entry)
      descriptors.set([u32[from + 2], u32[from + 3], u32[from + 1], u32[from]], i * DESC_WORDS)
    }
    const last = entries[entries.length - 1]
    this.#last[entries[0]] = last
    const saved = { id: u16[idAt(last)], descriptors }
    this.#savedEntry.set(saved, entries[0])
    return saved
  }

  #clear(used: number): void {
    const { u8, u16 } = this.#region
    const size = this.#size
    u8.fill(0)
    // The link of the last entry is unused.
    for (let i = 0; i < size; i++) this.#next[i] = u16[nextAt(i)] = i + 1
    this.#freeHead = 0
    u16[DESC_NUM] = size
    u16[USED_IDX] = used % size
    u8[USED_WRAP] = used < size ? 1 : 0
    this.#makeOld()
    u16[VERSION] = CURRENT_VERSION
  }

  /** Position as in `RingPosition`: wrap counter 0 is the second round. */
  #position(index: number, wrap: number): number {
    const { u8, u16 } = this.#region
    return u16[index] + (u8[wrap] !== 0 ? 0 : this.#size)
  }
}
