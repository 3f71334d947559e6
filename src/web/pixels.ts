/**
 * Converts pixels for a canvas, in place: bytes B, G, R, X become R, G, B and opaque. Words are little-endian:
 * 0xXXRRGGBB becomes 0xFFBBGGRR.
 */
export function toOpaqueRgba(words: Uint32Array): void {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]
    words[i] = 0xff000000 | ((word & 0xff) << 16) | (word & 0xff00) | ((word >>> 16) & 0xff)
  }
}

/** Converts pixels of a cursor for a canvas, in place, and keeps their alpha. */
export function toRgba(words: Uint32Array): void {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]
    words[i] = (word & 0xff00ff00) | ((word & 0xff) << 16) | ((word >>> 16) & 0xff)
  }
}
