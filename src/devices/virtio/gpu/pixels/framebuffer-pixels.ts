import type { FramebufferLayout } from '../../../../services/framebuffer-layout.ts'
import { fits, type Rect } from '../../../../services/rect.ts'
import { fourccName, liesWithin, MODIFIER_LINEAR } from './image-planes.ts'
import { BYTES_PER_PIXEL, drmFormat } from './pixel-format.ts'
import { PixelRows, type PixelSource } from './pixel-rows.ts'

/** Reason why pixels cannot be read. */
export interface NoPixels {
  readonly reason: string
}

/**
 * Copies a rectangle of a framebuffer as rows of B, G, R, X bytes without gaps.
 *
 *     const pixels = framebufferPixels(frame.bytes, frame.picture, frame.source)
 *     if ('reason' in pixels) ...
 */
export function framebufferPixels(bytes: Uint8Array, layout: FramebufferLayout, rect: Rect): Uint8Array | NoPixels {
  const { width, height, fourcc, modifier, planes } = layout
  const format = drmFormat(fourcc)
  if (!format) return { reason: `format ${fourccName(fourcc)} is not supported` }
  if (modifier !== MODIFIER_LINEAR)
    return { reason: `modifier 0x${modifier.toString(16)} is not linear: only a GPU can read it` }
  if (!liesWithin(layout, bytes.length))
    return { reason: `a framebuffer of ${width}x${height} does not fit in ${bytes.length} bytes` }
  if (!fits(rect, width, height)) return { reason: `the rectangle must lie within ${width}x${height} pixels` }
  const row = rect.width * BYTES_PER_PIXEL
  const pixels = new Uint8Array(rect.height * row)
  if (format.convert) {
    const source: PixelSource = {
      read(offset, target, targetOffset, length) {
        target.set(bytes.subarray(offset, offset + length), targetOffset)
        return length
      },
    }
    const rows = new PixelRows(source, layout, format.convert)
    rows.begin(rect.x, rect.width)
    for (let y = 0; y < rect.height; y++) rows.convert(rect.y + y, pixels, y * row)
  } else {
    const [{ offset, stride }] = planes
    for (let y = 0; y < rect.height; y++) {
      const from = offset + (rect.y + y) * stride + rect.x * BYTES_PER_PIXEL
      pixels.set(bytes.subarray(from, from + row), y * row)
    }
  }
  return pixels
}
