import type { SpanList } from '../../../../memory/span-list.ts'
import type { Surface, SurfacePath } from '../../../../services/display.ts'
import type { FramebufferLayout } from '../../../../services/framebuffer-layout.ts'
import { fits, type Rect } from '../../../../services/rect.ts'
import type { SharedBuffer } from '../../../../services/shared-buffer.ts'
import { MODIFIER_LINEAR } from '../pixels/image-planes.ts'
import { BYTES_PER_PIXEL } from '../pixels/pixel-format.ts'
import { framebufferLayoutOf, type PixelLayout } from '../pixels/pixel-layout.ts'
import { PixelRows } from '../pixels/pixel-rows.ts'
import type { Resource } from './resource.ts'

/** Surface: a rectangle of a resource. */
export class ResourceSurface implements Surface {
  readonly width: number
  readonly height: number
  readonly layout: FramebufferLayout
  readonly source: Rect
  /** Bytes read so far. */
  bytesRead = 0
  readonly #resource: Resource
  /** Converts rows; undefined if the bytes already are B, G, R, X. */
  readonly #rows: PixelRows | undefined
  /** True if the modifier is linear. */
  readonly #linear: boolean
  /** Offset of the first pixel; used only without conversion. */
  readonly #offset: number
  readonly #stride: number

  /**
   * @param layout of the whole resource
   * @param rect the part that is shown, which must lie inside it
   */
  constructor(resource: Resource, layout: PixelLayout, rect: Rect) {
    const [{ offset, stride }] = layout.planes
    this.width = rect.width
    this.height = rect.height
    this.layout = framebufferLayoutOf(layout)
    this.source = rect
    this.#resource = resource
    this.#rows = layout.format.convert && new PixelRows(resource, layout, layout.format.convert)
    this.#linear = layout.modifier === MODIFIER_LINEAR
    this.#offset = offset + rect.y * stride + rect.x * BYTES_PER_PIXEL
    this.#stride = stride
  }

  get path(): SurfacePath {
    return this.#resource.path
  }

  get reason(): string {
    const { reason } = this.#resource
    if (this.#linear) return reason
    const modifier = this.layout.modifier.toString(16)
    return `${reason}; reads as black, since only a GPU can read modifier 0x${modifier}`
  }

  get buffer(): SharedBuffer | undefined {
    return this.#resource.buffer
  }

  read(rect: Rect, target: Uint8Array, targetOffset: number, targetStride: number): number {
    const rowBytes = rect.width * BYTES_PER_PIXEL
    const lastRow = targetOffset + (rect.height - 1) * targetStride
    if (!fits(rect, this.width, this.height)) return 0
    if (!(targetOffset >= 0 && targetStride >= rowBytes && lastRow + rowBytes <= target.length)) return 0

    if (!this.#linear) {
      blacken(rect, target, targetOffset, targetStride)
      return 0
    }
    const { buffer } = this
    buffer?.beginRead()
    const copied = this.#rows
      ? this.#convert(this.#rows, rect, target, targetOffset, targetStride)
      : this.#copyRows(rect, target, targetOffset, targetStride)
    buffer?.endRead()
    this.bytesRead += copied
    return copied
  }

  locate(rect: Rect, into: SpanList): boolean {
    if (!fits(rect, this.width, this.height) || this.#rows || !this.#linear) return false
    const stride = this.#stride
    const rowBytes = rect.width * BYTES_PER_PIXEL
    const source = this.#offset + rect.y * stride + rect.x * BYTES_PER_PIXEL
    for (let y = 0; y < rect.height; y++) {
      if (!this.#resource.locate(source + y * stride, rowBytes, into)) return false
    }
    return true
  }

  /** Copies rows without conversion, in one call if they are adjacent. */
  #copyRows(rect: Rect, target: Uint8Array, targetOffset: number, targetStride: number): number {
    const stride = this.#stride
    const rowBytes = rect.width * BYTES_PER_PIXEL
    const source = this.#offset + rect.y * stride + rect.x * BYTES_PER_PIXEL
    if (rowBytes === stride && rowBytes === targetStride) {
      return this.#copy(source, target, targetOffset, rect.height * rowBytes)
    }
    let copied = 0
    for (let y = 0; y < rect.height; y++) {
      copied += this.#copy(source + y * stride, target, targetOffset + y * targetStride, rowBytes)
    }
    return copied
  }

  #copy(source: number, target: Uint8Array, targetOffset: number, length: number): number {
    const copied = this.#resource.read(source, target, targetOffset, length)
    if (copied < length) target.fill(0, targetOffset + copied, targetOffset + length)
    return copied
  }

  #convert(rows: PixelRows, rect: Rect, target: Uint8Array, targetOffset: number, targetStride: number): number {
    const rowBytes = rect.width * BYTES_PER_PIXEL
    const { x, y } = this.source
    let copied = 0
    rows.begin(x + rect.x, rect.width)
    for (let row = 0; row < rect.height; row++) {
      const at = targetOffset + row * targetStride
      if (rows.convert(y + rect.y + row, target, at)) copied += rowBytes
      else target.fill(0, at, at + rowBytes)
    }
    return copied
  }
}

function blacken(rect: Rect, target: Uint8Array, targetOffset: number, targetStride: number): void {
  for (let row = 0; row < rect.height; row++) {
    const at = targetOffset + row * targetStride
    target.fill(0, at, at + rect.width * BYTES_PER_PIXEL)
  }
}
