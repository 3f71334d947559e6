import type { Picture } from '../../../../services/picture.ts'
import { liesWithin, MODIFIER_LINEAR, planesOf } from './image-planes.ts'
import { BYTES_PER_PIXEL, blobFormat, type PixelFormat } from './pixel-format.ts'

/** How a picture lies in a resource's bytes, and what to make of them here. */
export interface ImageLayout extends Picture {
  readonly format: PixelFormat
}

/** A picture of one plane without gaps, from the first byte on. */
export function packedImage(width: number, height: number, format: PixelFormat): ImageLayout {
  const planes = [{ offset: 0, stride: width * BYTES_PER_PIXEL }]
  return { width, height, format, fourcc: format.fourcc, modifier: MODIFIER_LINEAR, planes }
}

/** The same, for whoever imports it. */
export function pictureOf({ width, height, fourcc, modifier, planes }: ImageLayout): Picture {
  return { width, height, fourcc, modifier, planes }
}

/** The first byte after the last row of a picture of one plane. */
export function imageEnd({ width, height, planes: [{ offset, stride }] }: ImageLayout): number {
  return offset + (height - 1) * stride + width * BYTES_PER_PIXEL
}

/** What SET_SCANOUT_BLOB says of a picture. */
interface BlobImage {
  readonly width: number
  readonly height: number
  readonly format: number
  readonly strides: readonly number[]
  readonly offsets: readonly number[]
}

/**
 * The picture that a blob is to be scanned out as; undefined where there cannot be one in that many bytes. As many planes count as
 * the format has.
 * @param described what a program said of the blob: the command has no room for modifiers
 */
export function blobImage(request: BlobImage, size: number, described: Picture | undefined): ImageLayout | undefined {
  const format = blobFormat(request.format)
  if (!format) return undefined
  const { width, height, strides, offsets } = request
  const { fourcc } = format
  const planes = (planesOf(fourcc) ?? []).map((_, i) => ({ offset: offsets[i], stride: strides[i] }))
  const image = { width, height, format, fourcc, modifier: MODIFIER_LINEAR, planes }
  const arranged = described && arrangedAs(image, described)
  return arranged ?? (liesWithin(image, size) ? image : undefined)
}

/** The same picture with the modifier and all planes of its description, if it is the same, and they are worth a word. */
function arrangedAs(image: ImageLayout, described: Picture): ImageLayout | undefined {
  const { modifier, planes } = described
  if (modifier === MODIFIER_LINEAR || image.width !== described.width || image.height !== described.height)
    return undefined
  // Of pixels arranged otherwise there may be more planes than the format has, such as one that tells how others are compressed.
  const isSame = image.planes.every(
    ({ offset, stride }, i) => planes[i]?.offset === offset && planes[i].stride === stride,
  )
  return isSame && planesOf(image.fourcc) === planesOf(described.fourcc) ? { ...image, modifier, planes } : undefined
}
