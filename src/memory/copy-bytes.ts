/** Up to this length a copy byte by byte is faster than a view, and makes no garbage. */
export const SMALL_COPY_BYTES = 64

/**
 * Copies `length` bytes. Both ranges must lie within their arrays. Overlapping ranges of one array are copied
 * correctly.
 */
export function copyBytes(
  source: Uint8Array,
  sourceOffset: number,
  target: Uint8Array,
  targetOffset: number,
  length: number,
): void {
  if (source === target) target.copyWithin(targetOffset, sourceOffset, sourceOffset + length)
  else if (length > SMALL_COPY_BYTES) target.set(source.subarray(sourceOffset, sourceOffset + length), targetOffset)
  else for (let i = 0; i < length; i++) target[targetOffset + i] = source[sourceOffset + i]
}
