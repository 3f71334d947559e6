import type { SocketFrame } from '../console/protocol.ts'
import { make } from './dom.ts'
import { toRgba } from './pixels.ts'

/** Maximum size of a cursor in browsers, in CSS pixels. */
const MAX_CURSOR = 128

/** Cursor of the guest for a screen. */
export class CursorImage {
  readonly #picture = make('canvas')
  readonly #hotX: number
  readonly #hotY: number

  constructor({ width, height, hotX, hotY, words }: Extract<SocketFrame, { kind: 'cursor' }>) {
    this.#picture.width = width
    this.#picture.height = height
    this.#hotX = Math.min(hotX, width - 1)
    this.#hotY = Math.min(hotY, height - 1)
    if (this.isHidden) return
    toRgba(words)
    const data = new Uint8ClampedArray(words.buffer, words.byteOffset, words.byteLength)
    this.#picture.getContext('2d')?.putImageData(new ImageData(data, width, height), 0, 0)
  }

  get isHidden(): boolean {
    return this.#picture.width === 0 || this.#picture.height === 0
  }

  /**
   * Returns the value of the CSS property `cursor`.
   * @param scale CSS pixels per pixel of the guest
   * @param density device pixels per CSS pixel
   */
  style(scale: number, density: number): string {
    if (this.isHidden) return 'none'
    const { width, height } = this.#picture
    const shown = Math.min(scale, MAX_CURSOR / Math.max(width, height))
    const scaled = make('canvas')
    scaled.width = Math.max(1, Math.round(width * shown * density))
    scaled.height = Math.max(1, Math.round(height * shown * density))
    const context = scaled.getContext('2d')
    if (context) {
      context.imageSmoothingEnabled = !Number.isInteger(shown * density)
      context.drawImage(this.#picture, 0, 0, scaled.width, scaled.height)
    }
    const url = `url(${scaled.toDataURL()})`
    const image = density === 1 ? url : `image-set(${url} ${density}x)`
    return `${image} ${Math.floor(this.#hotX * shown)} ${Math.floor(this.#hotY * shown)}, default`
  }
}
