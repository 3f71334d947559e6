import type { Picture } from './picture.ts'
import { BYTES_PER_PIXEL, type PixelFormat } from './pixel-format.ts'

/** `DRM_FORMAT_MOD_LINEAR`; drm_fourcc.h */
const MODIFIER_LINEAR = 0n

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

/** The same, for whoever imports it. */
export function pictureOf({ width, height, format, offset, stride }: ImageLayout): Picture {
  return { width, height, fourcc: format.fourcc, modifier: MODIFIER_LINEAR, planes: [{ offset, stride }] }
}

/** The first byte after the last row. */
export function imageEnd({ width, height, offset, stride }: ImageLayout): number {
  return offset + (height - 1) * stride + width * BYTES_PER_PIXEL
}
