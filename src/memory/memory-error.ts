/** Guest memory that cannot be what it was said to be: regions that overlap, a list that points outside. */
export class MemoryError extends Error {
  override readonly name = 'MemoryError'
}
