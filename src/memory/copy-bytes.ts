/** Below this, copying byte by byte is faster than making a view; and no view is made, which somebody would collect. */
export const SMALL = 64

/**
 * Copies `length` bytes. Both ranges must lie within their arrays.
 *
 * Where both arrays are the same and the ranges overlap, the copy is as if through a buffer.
 */
export function copyBytes(
  source: Uint8Array,
  sourceOffset: number,
  target: Uint8Array,
  targetOffset: number,
  length: number,
): void {
  if (source === target) target.copyWithin(targetOffset, sourceOffset, sourceOffset + length)
  else if (length > SMALL) target.set(source.subarray(sourceOffset, sourceOffset + length), targetOffset)
  else for (let i = 0; i < length; i++) target[targetOffset + i] = source[sourceOffset + i]
}
