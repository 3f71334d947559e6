/** The bytes of one row in one plane, from an address on that words of all sizes may have. */
export interface PlaneRow {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
}

/**
 * Writes pixels of one row as words of B, G, R and a fourth byte, from the lowest on.
 * @param rows of each plane, from the sample of the first pixel on
 * @param phase 1 where the first pixel is the second of those that share a sample, 0 where it is the first
 */
export type RowConverter = (rows: readonly PlaneRow[], phase: number, target: Uint32Array, pixels: number) => void
