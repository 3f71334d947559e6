import type { CursorPicture } from '../../../services/display.ts'
import { BGRA, BYTES_PER_PIXEL } from './pixels/pixel-format.ts'
import { packedLayout } from './pixels/pixel-layout.ts'
import { type Resource, Resource2d } from './resources/resource.ts'
import { ResourceSurface } from './resources/resource-surface.ts'

/** Width and height of a cursor in pixels. @virtio 5.7.6.6 */
export const CURSOR_SIDE = 64
export const CURSOR_BYTES = CURSOR_SIDE * CURSOR_SIDE * BYTES_PER_PIXEL
/**
 * Layout of a cursor in a blob, which has no format of its own: the format that Linux uses for cursors, from byte 0.
 */
const BLOB_LAYOUT = packedLayout(CURSOR_SIDE, CURSOR_SIDE, BGRA)
const WHOLE = { x: 0, y: 0, width: CURSOR_SIDE, height: CURSOR_SIDE }

/**
 * Copies a cursor out of a resource.
 *
 * The fourth byte is alpha, whatever the format says: Linux creates its cursors as dumb buffers, whose format has X.
 * @returns undefined if the resource is not 64 by 64 pixels
 */
export function loadCursor(resource: Resource, hotX: number, hotY: number): CursorPicture | undefined {
  const layout = resource instanceof Resource2d ? resource.layout : BLOB_LAYOUT
  if (layout.width !== CURSOR_SIDE || layout.height !== CURSOR_SIDE) return undefined
  const stride = CURSOR_SIDE * BYTES_PER_PIXEL
  const data = new Uint8Array(CURSOR_SIDE * stride)
  const copied = new ResourceSurface(resource, layout, WHOLE).read(WHOLE, data, 0, stride)
  if (copied < data.length) return undefined
  straighten(data)
  return {
    width: CURSOR_SIDE,
    height: CURSOR_SIDE,
    data,
    hotX: Math.min(hotX, CURSOR_SIDE - 1),
    hotY: Math.min(hotY, CURSOR_SIDE - 1),
  }
}

/**
 * Divides the colours by alpha, if the guest multiplied them.
 *
 * The specification does not say whether colours are multiplied. Linux multiplies them, Windows does not. A colour
 * greater than its alpha proves that they are not.
 */
function straighten(pixels: Uint8Array): void {
  for (let i = 0; i < pixels.length; i += BYTES_PER_PIXEL) {
    const alpha = pixels[i + 3]
    if (pixels[i] > alpha || pixels[i + 1] > alpha || pixels[i + 2] > alpha) return
  }
  for (let i = 0; i < pixels.length; i += BYTES_PER_PIXEL) {
    const alpha = pixels[i + 3]
    if (alpha === 0 || alpha === 0xff) continue
    for (let channel = i; channel < i + 3; channel++) pixels[channel] = Math.round((pixels[channel] * 0xff) / alpha)
  }
}
