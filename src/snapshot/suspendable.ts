import type { Pending } from '../pending/pending.ts'
import type { SavedState } from './saved-state.ts'

/**
 * Part of a machine whose state can be saved in one process and restored in another.
 *
 *     source.suspend()
 *     const state = source.save()
 *     ...
 *     destination.suspend()
 *     destination.restore(state)
 *     destination.resume()
 */
export interface Suspendable {
  /** Pauses the host side. @returns a wait until nothing is in flight; undefined if nothing is */
  suspend(): void | Pending
  /** Ends a suspension. */
  resume(): void
  /**
   * Returns the state while suspended: only what the destination cannot find again.
   * @throws {SnapshotError} if the state cannot be saved
   */
  save(): SavedState
  /**
   * Takes the state of another one of its kind. The state may come from a hostile source.
   * @throws {SnapshotError} if the state is not valid; nothing of it is restored then
   */
  restore(state: SavedState): void
}
