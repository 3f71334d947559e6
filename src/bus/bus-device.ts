/** Device behind a range of addresses: registers, memory, or both. */
export interface BusDevice {
  /**
   * Returns the little-endian value of `width` (1, 2 or 4) bytes, unsigned.
   * @param offset in bytes from the start of the range; `offset + width` is within it
   */
  read(offset: number, width: number): number
  write(offset: number, width: number, value: number): void
}
