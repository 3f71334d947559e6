import { BYTES_PER_PIXEL, type PixelFormat } from './pixel-format.ts'

/** How a picture lies in a resource's bytes. */
export interface ImageLayout {
  readonly width: number
  readonly height: number
  readonly format: PixelFormat
  /** The first pixel's first byte. */
  readonly offset: number
  /** Bytes from one row to the next. */
  readonly stride: number
}

/** A picture without gaps, from the first byte on. */
export function packedImage(width: number, height: number, format: PixelFormat): ImageLayout {
  return { width, height, format, offset: 0, stride: width * BYTES_PER_PIXEL }
}

/** The first byte after the last row. */
export function imageEnd({ width, height, offset, stride }: ImageLayout): number {
  return offset + (height - 1) * stride + width * BYTES_PER_PIXEL
}
