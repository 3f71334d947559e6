import type { Chain } from '../../../virtqueue/chain.ts'
import type { ChainJournal, SavedChain } from '../../../virtqueue/chain-journal.ts'
import type { RingPosition } from '../../../virtqueue/device-queue.ts'
import type { InflightRegion, RegionLayout } from './inflight-area.ts'

// A split queue's region                                                        @vhost-user Inflight I/O tracking
//
//   0          8         10         12                14         16
//   | features | version | desc_num | last_batch_head | used_idx | desc[0] ... |
//
// An entry, by the index of the chain's first descriptor
//
//   0          1     6      8
//   | inflight |     | next | counter |
//
export const SPLIT_LAYOUT: RegionLayout = { head: 16, entry: 16 }
const VERSION = 4
const DESC_NUM = 5
const LAST_BATCH_HEAD = 6
const USED_IDX = 7 // u16 indices
const inflightAt = (index: number) => 16 + index * 16 // u8 index
const nextAt = (index: number) => 8 + index * 8 + 3 // u16 index
const counterAt = (index: number) => 4 + index * 4 + 2 // u32 index

const CURRENT_VERSION = 1
const NO_DESCRIPTORS = new Uint32Array(0)

/**
 * Journal of a split queue: chains in flight, in a region that the next process reads.
 *
 * A batch is linked into a list before the used index moves, and its entries are cleared afterwards: if the process
 * ends in between, the difference of the indices is the number of completed chains of that list.
 *
 * Other processes can write to the region. Its content is used once, when a queue opens, and every index is checked.
 */
export class SplitJournal implements ChainJournal {
  readonly unfinished: readonly SavedChain[]
  /** Position at which the ring continues. */
  readonly start: RingPosition
  readonly #region: InflightRegion
  readonly #size: number
  #counter = 0
  #lastBatchHead = 0
  /** Used chains that are not visible yet. */
  readonly #batch: Uint16Array
  #batched = 0
  #used = 0

  /**
   * @param size queue size, at most `regionSize`
   * @param regionSize descriptors that the region has entries for
   * @param used used index that the driver sees
   * @param available position from the front-end; if the region was in use, the position in the region is used
   */
  constructor(region: InflightRegion, size: number, regionSize: number, used: number, available: number) {
    this.#region = region
    this.#size = size
    this.#batch = new Uint16Array(size)
    const { u16 } = region
    if (u16[VERSION] !== CURRENT_VERSION || u16[DESC_NUM] !== regionSize || !this.#commit(used)) {
      this.#clear(regionSize, used)
      this.unfinished = []
      this.start = { available, used }
      return
    }
    this.unfinished = this.#find()
    this.start = { available: (used + this.unfinished.length) & 0xffff, used }
  }

  descriptor(): void {}

  taken(chain: Chain): void {
    const { id } = chain
    if (id >= this.#size) return
    const { u8, u32 } = this.#region
    const at = counterAt(id)
    u32[at] = this.#counter
    u32[at + 1] = this.#counter / 2 ** 32
    this.#counter++
    u8[inflightAt(id)] = 1
  }

  resumed(): void {}

  used(chain: Chain): void {
    if (chain.id < this.#size && this.#batched < this.#size) this.#batch[this.#batched++] = chain.id
  }

  exposing(used: number): void {
    const { u16 } = this.#region
    for (let i = 0; i < this.#batched; i++) {
      const index = this.#batch[i]
      u16[nextAt(index)] = this.#lastBatchHead
      this.#lastBatchHead = index
    }
    u16[LAST_BATCH_HEAD] = this.#lastBatchHead
    this.#used = used
  }

  exposed(): void {
    const { u8, u16 } = this.#region
    for (let i = 0; i < this.#batched; i++) u8[inflightAt(this.#batch[i])] = 0
    this.#batched = 0
    u16[USED_IDX] = this.#used
  }

  /** Invalidates the region: no chain is in flight, and the next owner starts at the position from its front-end. */
  release(): void {
    this.#region.u16[VERSION] = 0
  }

  /** Removes the chains of the last publication. @returns false if the region does not belong to the ring */
  #commit(used: number): boolean {
    const { u8, u16 } = this.#region
    const done = (used - u16[USED_IDX]) & 0xffff
    if (done > this.#size) return false
    for (let i = 0, index = u16[LAST_BATCH_HEAD]; i < done; i++) {
      if (index >= this.#size) return false
      u8[inflightAt(index)] = 0
      index = u16[nextAt(index)]
    }
    this.#lastBatchHead = u16[LAST_BATCH_HEAD] % this.#size
    u16[USED_IDX] = used
    return true
  }

  /** Returns the chains in flight, oldest first. */
  #find(): SavedChain[] {
    const { u8, u32 } = this.#region
    const found: { readonly id: number; readonly counter: number }[] = []
    for (let id = 0; id < this.#size; id++) {
      if (u8[inflightAt(id)] !== 1) continue
      const at = counterAt(id)
      found.push({ id, counter: u32[at] + u32[at + 1] * 2 ** 32 })
    }
    found.sort((a, b) => a.counter - b.counter)
    this.#counter = nextCounter(found.at(-1)?.counter)
    return found.map(({ id }) => ({ id, descriptors: NO_DESCRIPTORS }))
  }

  #clear(regionSize: number, used: number): void {
    const { u8, u16 } = this.#region
    u8.fill(0)
    u16[DESC_NUM] = regionSize
    u16[USED_IDX] = used
    u16[VERSION] = CURRENT_VERSION
  }
}

/** Returns the counter after `last`; 0 if it is undefined or would soon exceed the exact integers. */
export function nextCounter(last: number | undefined): number {
  return last !== undefined && last < Number.MAX_SAFE_INTEGER / 2 ? last + 1 : 0
}
