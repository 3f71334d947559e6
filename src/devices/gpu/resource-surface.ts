import type { SpanList } from '../../memory/span-list.ts'
import type { Surface, SurfacePath } from './display.ts'
import { type ImageLayout, pictureOf } from './image-layout.ts'
import type { Picture } from './picture.ts'
import { BYTES_PER_PIXEL, convertRow, needsConversion, type PixelFormat } from './pixel-format.ts'
import { fits, type Rect } from './rect.ts'
import type { Resource } from './resource.ts'
import type { SharedBuffer } from './shared-buffer.ts'

/** A rectangle of a picture in a resource. */
export class ResourceSurface implements Surface {
  readonly width: number
  readonly height: number
  readonly picture: Picture
  readonly source: Rect
  /** Bytes read so far. */
  bytesRead = 0
  readonly #resource: Resource
  readonly #format: PixelFormat
  /** The first pixel's first byte. */
  readonly #offset: number
  readonly #stride: number

  /**
   * @param image how the whole picture lies in the resource
   * @param rect what of it is shown, inside it
   */
  constructor(resource: Resource, image: ImageLayout, rect: Rect) {
    this.width = rect.width
    this.height = rect.height
    this.picture = pictureOf(image)
    this.source = rect
    this.#resource = resource
    this.#format = image.format
    this.#offset = image.offset + rect.y * image.stride + rect.x * BYTES_PER_PIXEL
    this.#stride = image.stride
  }

  get path(): SurfacePath {
    return this.#resource.path
  }

  get reason(): string {
    return this.#resource.reason
  }

  get buffer(): SharedBuffer | undefined {
    return this.#resource.buffer
  }

  read(rect: Rect, target: Uint8Array, targetOffset: number, targetStride: number): number {
    const rowBytes = rect.width * BYTES_PER_PIXEL
    const lastRow = targetOffset + (rect.height - 1) * targetStride
    if (!fits(rect, this.width, this.height)) return 0
    if (!(targetOffset >= 0 && targetStride >= rowBytes && lastRow + rowBytes <= target.length)) return 0

    const stride = this.#stride
    const source = this.#offset + rect.y * stride + rect.x * BYTES_PER_PIXEL
    const { buffer } = this
    let copied = 0
    buffer?.beginRead()
    if (rowBytes === stride && rowBytes === targetStride) {
      copied = this.#copy(source, target, targetOffset, rect.height * rowBytes)
    } else {
      for (let y = 0; y < rect.height; y++) {
        copied += this.#copy(source + y * stride, target, targetOffset + y * targetStride, rowBytes)
      }
    }
    buffer?.endRead()
    this.bytesRead += copied
    return copied
  }

  locate(rect: Rect, into: SpanList): boolean {
    if (!fits(rect, this.width, this.height) || needsConversion(this.#format)) return false
    const stride = this.#stride
    const rowBytes = rect.width * BYTES_PER_PIXEL
    const source = this.#offset + rect.y * stride + rect.x * BYTES_PER_PIXEL
    for (let y = 0; y < rect.height; y++) {
      if (!this.#resource.locate(source + y * stride, rowBytes, into)) return false
    }
    return true
  }

  /** Copies whole pixels that follow each other, in the order of bytes that displays want. */
  #copy(source: number, target: Uint8Array, targetOffset: number, length: number): number {
    const copied = this.#resource.read(source, target, targetOffset, length)
    if (copied < length) target.fill(0, targetOffset + copied, targetOffset + length)
    convertRow(this.#format, target, targetOffset, length / BYTES_PER_PIXEL)
    return copied
  }
}
