import type { Picture, PicturePlane } from '../../../../../services/picture.ts'
import { MODIFIER_LINEAR, planeRowBytes, planeRows, planesOf } from '../../pixels/image-planes.ts'

/** Rows begin at multiples of this many bytes, as GPUs of all makes want it of linear pictures. */
const STRIDE_ALIGNMENT = 256

/** What a picture needs of a buffer. */
export interface ImageRequirements {
  readonly picture: Picture
  /** Bytes, up to the end of the last plane. */
  readonly size: number
}

/** Lays a picture out: plane after plane, row after row. @returns undefined where the format is none that is known */
export function layOutImage(width: number, height: number, fourcc: number): ImageRequirements | undefined {
  const shapes = planesOf(fourcc)
  if (!shapes) return undefined
  const planes: PicturePlane[] = []
  let size = 0
  for (const shape of shapes) {
    const stride = Math.ceil(planeRowBytes(shape, width) / STRIDE_ALIGNMENT) * STRIDE_ALIGNMENT
    planes.push({ offset: size, stride })
    size += stride * planeRows(shape, height)
  }
  return { picture: { width, height, fourcc, modifier: MODIFIER_LINEAR, planes }, size }
}
