import type { Chain } from './chain.ts'

/** Chain that was in flight when the previous device of the queue disappeared. */
export interface SavedChain {
  /** Head index or buffer id, as in `Chain.id`. */
  readonly id: number
  /** Packed rings: copy of its descriptors, four words each. Split rings: empty, the ring still holds them. */
  readonly descriptors: Uint32Array
}

/**
 * Record of the chains in flight, readable by the next process that serves the queue.
 *
 * A queue calls it at each step of a chain: `descriptor` for each descriptor of a packed ring, then `taken`, then
 * `used`. For a batch of used chains it calls `exposing`, makes the batch visible by one store, and calls `exposed`.
 * From the journal and the ring, the next process can determine whether that store was made.
 */
export interface ChainJournal {
  /** Chains to pop before those available in the ring, in this order. */
  readonly unfinished: readonly SavedChain[]
  /** The descriptor at `words[at]` of a packed ring belongs to the chain that is being read. */
  descriptor(words: Uint32Array, at: number): void
  /** A chain was read, well formed or malformed. */
  taken(chain: Chain): void
  /** `chain` was made from `saved`, an entry of `unfinished`. */
  resumed(chain: Chain, saved: SavedChain): void
  /** A used entry was filled for a chain. The driver cannot see it yet. */
  used(chain: Chain): void
  /** All filled used entries become visible next. @param used used position after that, as in `RingPosition` */
  exposing(used: number): void
  /** The used entries became visible. */
  exposed(): void
}
