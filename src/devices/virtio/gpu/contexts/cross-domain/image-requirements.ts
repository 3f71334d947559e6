import type { FramebufferLayout, PlaneLayout } from '../../../../../services/framebuffer-layout.ts'
import { MODIFIER_LINEAR, planeRowBytes, planeRows, planesOf } from '../../pixels/image-planes.ts'

/** Alignment of rows in bytes, as GPUs of all vendors need it for linear buffers. */
const STRIDE_ALIGNMENT = 256

/** Layout and size of the buffer that an image needs. */
export interface ImageRequirements {
  readonly layout: FramebufferLayout
  /** Bytes, up to the end of the last plane. */
  readonly size: number
}

/**
 * Lays out an image without gaps between planes, rows aligned to 256 bytes.
 * @returns undefined if the format is unknown
 */
export function layOutImage(width: number, height: number, fourcc: number): ImageRequirements | undefined {
  const shapes = planesOf(fourcc)
  if (!shapes) return undefined
  const planes: PlaneLayout[] = []
  let size = 0
  for (const shape of shapes) {
    const stride = Math.ceil(planeRowBytes(shape, width) / STRIDE_ALIGNMENT) * STRIDE_ALIGNMENT
    planes.push({ offset: size, stride })
    size += stride * planeRows(shape, height)
  }
  return { layout: { width, height, fourcc, modifier: MODIFIER_LINEAR, planes }, size }
}
