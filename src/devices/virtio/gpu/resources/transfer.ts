import { fits, type Rect } from '../../../../services/rect.ts'
import { BYTES_PER_PIXEL } from '../pixels/pixel-format.ts'
import { GpuResponse } from '../protocol.ts'
import { MAX_SIDE } from '../scanout.ts'
import type { Resource2d } from './resource.ts'

/**
 * Copies a rectangle from the guest pages to the host's copy: row by row, or in one call if its rows are adjacent.
 *
 *      pages    ... offset [row 0]........[row 1]........[row 2]       rows with the stride of the resource
 *                             |              |              |
 *      shadow   .... y,x   [row 0]........[row 1]........[row 2]
 *
 * @param offset of the rectangle's first pixel in the pages
 * @virtio 5.7.6.8 TRANSFER_TO_HOST_2D
 */
export function transferToHost(resource: Resource2d, rect: Rect, offset: number): GpuResponse {
  const { backing, shadow, layout } = resource
  if (!backing) return GpuResponse.ERR_UNSPEC
  if (!fits(rect, layout.width, layout.height)) return GpuResponse.ERR_INVALID_PARAMETER
  const [{ stride }] = layout.planes
  const rowBytes = rect.width * BYTES_PER_PIXEL
  if (offset + (rect.height - 1) * stride + rowBytes > backing.byteLength) return GpuResponse.ERR_INVALID_PARAMETER

  // Bounds the time of one command: narrow rows are copied one by one.
  if (rowBytes !== stride && rect.height > MAX_SIDE) return GpuResponse.ERR_INVALID_PARAMETER

  const target = rect.y * stride + rect.x * BYTES_PER_PIXEL
  if (rowBytes === stride) backing.read(offset, shadow, target, rect.height * stride)
  else for (let y = 0; y < rect.height; y++) backing.read(offset + y * stride, shadow, target + y * stride, rowBytes)
  resource.bytesTransferred += rect.height * rowBytes
  return GpuResponse.OK_NODATA
}
