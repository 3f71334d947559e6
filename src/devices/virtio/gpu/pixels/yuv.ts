// Converts luma and chroma to blue, green and red by ITU-R BT.601 in limited range: luma from 16 to 235, chroma from 16
// to 240 around 128. Samples are in units of a quarter, so 10-bit samples keep all their bits.

import type { RowConverter } from './row-converter.ts'

/** Formats with two planes: luma, and interleaved chroma. @param cb index of Cb in a pair: 0 or 1 */
export function twoPlanes(cb: number): RowConverter {
  return (rows, phase, target, pixels) => {
    const luma = rows[0].u8
    const chroma = rows[1].u8
    for (let i = 0; i < pixels; i++) {
      const pair = (i + phase) & ~1
      target[i] = pixel(luma[i] << 2, chroma[pair + cb] << 2, chroma[pair + 1 - cb] << 2)
    }
  }
}

/** Formats with two planes of 16-bit words, whose upper 10 bits are used. */
export const deepTwoPlanes: RowConverter = (rows, phase, target, pixels) => {
  const luma = rows[0].u16
  const chroma = rows[1].u16
  for (let i = 0; i < pixels; i++) {
    const pair = (i + phase) & ~1
    target[i] = pixel(luma[i] >>> 6, chroma[pair] >>> 6, chroma[pair + 1] >>> 6)
  }
}

/** Formats with three planes. @param cb plane of Cb: 1 or 2 */
export function threePlanes(cb: number): RowConverter {
  return (rows, phase, target, pixels) => {
    const luma = rows[0].u8
    const blue = rows[cb].u8
    const red = rows[3 - cb].u8
    for (let i = 0; i < pixels; i++) {
      const sample = (i + phase) >>> 1
      target[i] = pixel(luma[i] << 2, blue[sample] << 2, red[sample] << 2)
    }
  }
}

/** Two pixels in four bytes. @param y index of the first luma byte: 0 or 1; chroma is in the other two bytes */
export function pairs(y: number): RowConverter {
  return (rows, phase, target, pixels) => {
    const bytes = rows[0].u8
    for (let i = 0; i < pixels; i++) {
      const at = i + phase
      const pair = (at >>> 1) << 2
      const colours = pair + 1 - y
      target[i] = pixel(bytes[(at << 1) + y] << 2, bytes[colours] << 2, bytes[colours + 2] << 2)
    }
  }
}

function pixel(y: number, cb: number, cr: number): number {
  const luma = 298 * (y - 64) + 512
  const blue = cb - 512
  const red = cr - 512
  return (
    byte((luma + 516 * blue) >> 10) |
    (byte((luma - 100 * blue - 208 * red) >> 10) << 8) |
    (byte((luma + 409 * red) >> 10) << 16) |
    (0xff << 24)
  )
}

function byte(value: number): number {
  return value < 0 ? 0 : value > 0xff ? 0xff : value
}
