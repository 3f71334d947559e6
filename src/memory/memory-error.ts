/** Invalid description of guest memory: overlapping regions, or a range outside them. */
export class MemoryError extends Error {
  override readonly name = 'MemoryError'
}
