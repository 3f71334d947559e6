import { Damage } from '../../../services/damage.ts'
import type { CursorPicture, Rect, Surface } from '../../../services/display.ts'
import type { Size } from '../../../services/rect.ts'
import type { GpuChannel } from './gpu-channel.ts'
import type { PixelPieces } from './pixel-pieces.ts'

/** Cursor state that the front-end must receive. */
const CursorNews = { NONE: 0, POSITION: 1, PICTURE: 2 } as const
type CursorNews = (typeof CursorNews)[keyof typeof CursorNews]

/** One scanout at a front-end: its surface and cursor, and which of that must be sent. */
export class FrontEndScanout {
  readonly #index: number
  #surface: Surface | undefined
  /** Size that the front-end knows; undefined if the scanout is off there. */
  #shown: Size | undefined
  /** Damage since pieces were last cut, and the rest of those pieces. */
  readonly #damage = new Damage()
  #rects: Rect[] = []
  #cursor: CursorPicture | undefined
  #x = 0
  #y = 0
  #cursorNews: CursorNews = CursorNews.NONE

  constructor(index: number) {
    this.#index = index
  }

  show(surface: Surface | undefined): void {
    this.#surface = surface
    this.#rects = []
    this.#damage.addAll()
  }

  /** Adds damage. @returns true if it was merged with damage that is not sent yet */
  change(rect: Rect): boolean {
    const waits = !this.#damage.isEmpty || this.#rects.length > 0
    this.#damage.add(rect)
    return waits
  }

  pointWith(cursor: CursorPicture | undefined): void {
    this.#cursor = cursor
    this.#cursorNews = CursorNews.PICTURE
  }

  pointTo(x: number, y: number): void {
    this.#x = x
    this.#y = y
    if (this.#cursor && this.#cursorNews === CursorNews.NONE) this.#cursorNews = CursorNews.POSITION
  }

  /** Another front-end connected: everything must be sent again. */
  forget(): void {
    this.#shown = undefined
    this.show(this.#surface)
    this.#cursorNews = this.#cursor ? CursorNews.PICTURE : CursorNews.NONE
  }

  /** Sends the next message. @returns false if there was none */
  tell(channel: GpuChannel, pieces: PixelPieces): boolean {
    return this.#tellCursor(channel) || this.#tellPicture(channel, pieces)
  }

  #tellCursor(channel: GpuChannel): boolean {
    const news = this.#cursorNews
    if (news === CursorNews.NONE) return false
    this.#cursorNews = CursorNews.NONE
    const position = { scanout: this.#index, x: this.#x, y: this.#y }
    const cursor = this.#cursor
    if (!cursor) channel.send('CURSOR_POS_HIDE', position)
    else if (news === CursorNews.POSITION) channel.send('CURSOR_POS', position)
    else {
      const { hotX, hotY } = cursor
      channel.send('CURSOR_UPDATE', { ...position, hotX, hotY, pixels: multiplied(cursor.data) })
    }
    return true
  }

  #tellPicture(channel: GpuChannel, pieces: PixelPieces): boolean {
    const surface = this.#surface
    if (!surface) return this.#tellOff(channel)
    if (this.#rects.length === 0) this.#rects = this.#damage.take(surface)
    const [rect] = this.#rects
    if (!rect) return false
    const { width, height } = surface
    if (this.#shown?.width !== width || this.#shown.height !== height) {
      // Pixels follow: QEMU allocates a surface of the new size now, and shows it at the next update.
      channel.send('SCANOUT', { scanout: this.#index, width, height })
      this.#shown = { width, height }
    }
    const piece = pieces.first(rect)
    const rows = rect.height - piece.height
    if (rows > 0) this.#rects[0] = { ...rect, y: rect.y + piece.height, height: rows }
    else this.#rects.shift()
    channel.update(this.#index, piece, pieces.of(surface, piece))
    return true
  }

  #tellOff(channel: GpuChannel): boolean {
    if (!this.#shown) return false
    this.#shown = undefined
    channel.send('SCANOUT', { scanout: this.#index, width: 0, height: 0 })
    return true
  }
}

/** Converts straight alpha to premultiplied alpha. Exact for a guest that had premultiplied alpha. */
function multiplied(straight: Uint8Array): Uint8Array {
  const pixels = straight.slice()
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3]
    for (let channel = i; channel < i + 3; channel++) pixels[channel] = Math.round((pixels[channel] * alpha) / 0xff)
  }
  return pixels
}
