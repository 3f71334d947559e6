import type { FramebufferLayout } from '../../../../services/framebuffer-layout.ts'
import { liesWithin, MODIFIER_LINEAR, planesOf } from './image-planes.ts'
import { BYTES_PER_PIXEL, blobFormat, type PixelFormat } from './pixel-format.ts'

/** Framebuffer layout in a resource, and the pixel format that converts it. */
export interface PixelLayout extends FramebufferLayout {
  readonly format: PixelFormat
}

/** Returns the layout of one plane without gaps, from byte 0. */
export function packedLayout(width: number, height: number, format: PixelFormat): PixelLayout {
  const planes = [{ offset: 0, stride: width * BYTES_PER_PIXEL }]
  return { width, height, format, fourcc: format.fourcc, modifier: MODIFIER_LINEAR, planes }
}

/** Returns the framebuffer layout without the pixel format, for consumers. */
export function framebufferLayoutOf({ width, height, fourcc, modifier, planes }: PixelLayout): FramebufferLayout {
  return { width, height, fourcc, modifier, planes }
}

/** Returns the offset of the first byte after the last row. One plane only. */
export function layoutEnd({ width, height, planes: [{ offset, stride }] }: PixelLayout): number {
  return offset + (height - 1) * stride + width * BYTES_PER_PIXEL
}

/** Framebuffer layout in SET_SCANOUT_BLOB. */
interface BlobLayoutRequest {
  readonly width: number
  readonly height: number
  readonly format: number
  readonly strides: readonly number[]
  readonly offsets: readonly number[]
}

/**
 * Returns the layout with which SET_SCANOUT_BLOB scans out a blob of `size` bytes; undefined if it does not fit. Reads
 * as many strides and offsets as the format has planes.
 * @param described layout of the blob as a program described it: the command has no modifier
 */
export function blobLayout(
  request: BlobLayoutRequest,
  size: number,
  described: FramebufferLayout | undefined,
): PixelLayout | undefined {
  const format = blobFormat(request.format)
  if (!format) return undefined
  const { width, height, strides, offsets } = request
  const { fourcc } = format
  const planes = (planesOf(fourcc) ?? []).map((_, i) => ({ offset: offsets[i], stride: strides[i] }))
  const layout = { width, height, format, fourcc, modifier: MODIFIER_LINEAR, planes }
  const tiled = described && withModifier(layout, described)
  return tiled ?? (liesWithin(layout, size) ? layout : undefined)
}

/** Takes modifier and further planes from `described`, if its size, format and planes match and it is not linear. */
function withModifier(layout: PixelLayout, described: FramebufferLayout): PixelLayout | undefined {
  const { modifier, planes } = described
  if (modifier === MODIFIER_LINEAR || layout.width !== described.width || layout.height !== described.height)
    return undefined
  // Modifiers may add planes to those of the format, such as one with compression metadata.
  const isSame = layout.planes.every(
    ({ offset, stride }, i) => planes[i]?.offset === offset && planes[i].stride === stride,
  )
  return isSame && planesOf(layout.fourcc) === planesOf(described.fourcc) ? { ...layout, modifier, planes } : undefined
}
