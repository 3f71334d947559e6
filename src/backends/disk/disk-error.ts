/** A disk image that cannot be used: one line that says what is wrong with which file, and what to do. */
export class DiskError extends Error {
  override readonly name = 'DiskError'
}
