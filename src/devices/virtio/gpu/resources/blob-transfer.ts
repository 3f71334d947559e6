import { fits } from '../../../../services/rect.ts'
import { MODIFIER_LINEAR, planesOf } from '../pixels/image-planes.ts'
import { GpuResponse, type TRANSFER_3D } from '../protocol.ts'
import { MAX_SIDE } from '../scanout.ts'
import type { HostBlob } from './host-blob.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY, ERR_INVALID_PARAMETER } = GpuResponse

export type TransferDirection = 'to host' | 'from host'

/** The box of the blob, and its position in the guest pages. */
type Transfer = ReturnType<typeof TRANSFER_3D.decode>

/** Rows of the blob. */
interface Rows {
  /** Offset of the first row. */
  readonly start: number
  readonly stride: number
  readonly length: number
  readonly count: number
}

/**
 * Copies a box between a host blob and its guest pages, row by row.
 *
 *      pages    ... offset [row 0]........[row 1]        rows `stride` bytes apart; 0: the stride of the blob
 *                             |              |
 *      blob     .... y,x   [row 0]........[row 1]        framebuffer layout of the blob
 *
 * A blob without a framebuffer layout, or with several planes, is a sequence of bytes: the box starts at byte `x` and
 * has `width` bytes. Levels and layers are not supported.
 *
 * @virtio 5.7.6.9 TRANSFER_TO_HOST_3D, TRANSFER_FROM_HOST_3D
 */
export function transferBlob(blob: HostBlob, transfer: Transfer, direction: TransferDirection): GpuResponse {
  const { offset, level, layerStride, z, depth } = transfer
  const { backing } = blob
  if (!backing) return ERR_UNSPEC
  const rows = z === 0 && depth === 1 && level === 0 && layerStride === 0 ? rowsOf(blob, transfer) : undefined
  if (!rows) return ERR_INVALID_PARAMETER
  const { start, stride, length, count } = rows
  const guestStride = transfer.stride || stride
  if (count > MAX_SIDE || (count > 1 && guestStride < length)) return ERR_INVALID_PARAMETER
  if (offset + (count - 1) * guestStride + length > backing.byteLength) return ERR_INVALID_PARAMETER
  if (start + (count - 1) * stride + length > blob.size) return ERR_INVALID_PARAMETER
  if (!blob.ensurePlace()) return ERR_OUT_OF_MEMORY

  for (let row = 0; row < count; row++) {
    const [guest, host] = [offset + row * guestStride, start + row * stride]
    if (direction === 'to host') blob.copyIn(guest, host, length)
    else blob.copyOut(guest, host, length)
  }
  blob.bytesTransferred += count * length
  return OK_NODATA
}

function rowsOf(blob: HostBlob, box: Transfer): Rows | undefined {
  const { x, y, width, height } = box
  const layout = blob.exported.layout
  const [shape, another] = (layout?.modifier === MODIFIER_LINEAR && planesOf(layout.fourcc)) || []
  if (!layout || !shape || another || shape.across > 1) {
    return fits(box, blob.size, 1) ? { start: x, stride: width, length: width, count: 1 } : undefined
  }
  if (!fits(box, layout.width, layout.height)) return undefined
  const [{ offset, stride }] = layout.planes
  return { start: offset + y * stride + x * shape.bytes, stride, length: width * shape.bytes, count: height }
}
