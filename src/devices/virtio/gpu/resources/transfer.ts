import { fits, type Rect } from '../../../../services/rect.ts'
import { BYTES_PER_PIXEL } from '../pixels/pixel-format.ts'
import { GpuResponse } from '../protocol.ts'
import { MAX_SIDE } from '../scanout.ts'
import type { Resource2d } from './resource.ts'

/**
 * Copies a rectangle from the guest's pages into the host's copy: exactly it, row by row, or at once where its rows
 * touch.
 *
 *      pages    ... offset [row 0]........[row 1]........[row 2]       rows a stride of the whole picture apart
 *                             |              |              |
 *      shadow   .... y,x   [row 0]........[row 1]........[row 2]
 *
 * @param offset of the rectangle's first pixel in the pages
 * @virtio 5.7.6.8 TRANSFER_TO_HOST_2D
 */
export function transferToHost(resource: Resource2d, rect: Rect, offset: number): GpuResponse {
  const { backing, shadow, image } = resource
  if (!backing) return GpuResponse.ERR_UNSPEC
  if (!fits(rect, image.width, image.height)) return GpuResponse.ERR_INVALID_PARAMETER
  const [{ stride }] = image.planes
  const rowBytes = rect.width * BYTES_PER_PIXEL
  if (offset + (rect.height - 1) * stride + rowBytes > backing.byteLength) return GpuResponse.ERR_INVALID_PARAMETER

  // Nobody waits for a guest that has a few pixels of millions of rows copied, one by one.
  if (rowBytes !== stride && rect.height > MAX_SIDE) return GpuResponse.ERR_INVALID_PARAMETER

  const target = rect.y * stride + rect.x * BYTES_PER_PIXEL
  if (rowBytes === stride) backing.read(offset, shadow, target, rect.height * stride)
  else for (let y = 0; y < rect.height; y++) backing.read(offset + y * stride, shadow, target + y * stride, rowBytes)
  resource.bytesTransferred += rect.height * rowBytes
  return GpuResponse.OK_NODATA
}
