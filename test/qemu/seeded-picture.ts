import type { Rect } from '../../src/services/rect.ts'

/** Position of a picture with four bytes per pixel in a buffer. */
export interface PicturePlace {
  readonly offset: number
  readonly stride: number
}

/** Draws a part of a picture whose pixels differ from those of every other seed. */
export function drawSeeded(buffer: ArrayBuffer, { offset, stride }: PicturePlace, seed: number, part: Rect): void {
  for (let y = part.y; y < part.y + part.height; y++) {
    const row = new Uint32Array(buffer, offset + y * stride + part.x * 4, part.width)
    for (let i = 0; i < part.width; i++) row[i] = ((seed & 0xff) << 24) | ((y & 0xfff) << 12) | ((part.x + i) & 0xfff)
  }
}
