import type { Chain } from './chain.ts'

/** A chain that was in flight when its queue's last device went away. */
export interface SavedChain {
  /** What names it in the rings, as in `Chain.id`. */
  readonly id: number
  /** Packed rings: its descriptors as they were in the ring, four words each. A split ring still has its own. */
  readonly descriptors: Uint32Array
}

/**
 * Writes down which chains are in flight, where it can be read by whoever serves the queue next.
 *
 * A queue calls it at each step a chain takes: `descriptor` for each in a packed ring, `taken`, then `used`, and for a
 * whole batch of those `exposing` and `exposed`, with the one store that makes the batch visible in between. So
 * whoever finds the journal and the ring can always tell whether that store was made.
 */
export interface ChainJournal {
  /** Chains to begin with, before what is available in the ring, in this order. */
  readonly unfinished: readonly SavedChain[]
  /** The descriptor at `words[at]` of a packed ring belongs to the chain that is being read. */
  descriptor(words: Uint32Array, at: number): void
  /** A chain was read, well formed or not. */
  taken(chain: Chain): void
  /** One of `unfinished` is this chain from now on. */
  resumed(chain: Chain, saved: SavedChain): void
  /** A used entry was filled for a chain. The driver cannot see it yet. */
  used(chain: Chain): void
  /** All that were filled become visible next. @param used where the ring stands then, as in `RingPosition` */
  exposing(used: number): void
  /** They are visible. */
  exposed(): void
}
