/** A state that cannot be saved or restored. The message names the part, what is wrong with it and what it must be. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError'
}
