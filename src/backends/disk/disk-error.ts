/** A disk image cannot be used. The message states in one line which file, why, and how to fix it. */
export class DiskError extends Error {
  override readonly name = 'DiskError'
}
