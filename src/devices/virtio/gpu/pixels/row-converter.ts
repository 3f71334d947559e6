/** Bytes of one row of a plane, at an address that is aligned for words of all sizes. */
export interface PlaneRow {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
}

/**
 * Converts pixels of one row to words of B, G, R and a fourth byte, from the lowest byte.
 * @param rows of each plane, from the sample of the first pixel
 * @param phase 0 if the first pixel is the first of those that share a sample, 1 if it is the second
 */
export type RowConverter = (rows: readonly PlaneRow[], phase: number, target: Uint32Array, pixels: number) => void
