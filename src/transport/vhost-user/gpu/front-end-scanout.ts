import { Damage } from '../../../services/damage.ts'
import type { CursorPicture, Rect, Surface } from '../../../services/display.ts'
import type { GpuChannel } from './gpu-channel.ts'
import type { PixelPieces } from './pixel-pieces.ts'

/** What the front-end has to be told of a cursor. */
const CursorNews = { NONE: 0, POSITION: 1, PICTURE: 2 } as const
type CursorNews = (typeof CursorNews)[keyof typeof CursorNews]

/** One scanout of a front-end's screen: what it is, and what of that the front-end does not know yet. */
export class FrontEndScanout {
  readonly #index: number
  #surface: Surface | undefined
  /** The size the front-end knows; undefined where it shows nothing. */
  #shown: Pick<Rect, 'width' | 'height'> | undefined
  /** What changed since pieces were cut the last time, and what is left of those. */
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

  /** @returns whether it was added to what had not been sent yet */
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

  /** Nobody knows anything: another front-end. */
  forget(): void {
    this.#shown = undefined
    this.show(this.#surface)
    this.#cursorNews = this.#cursor ? CursorNews.PICTURE : CursorNews.NONE
  }

  /** Tells the front-end the next thing. @returns whether there was one */
  tell(channel: GpuChannel, pieces: PixelPieces): boolean {
    return this.#tellCursor(channel) || this.#tellPicture(channel, pieces)
  }

  #tellCursor(channel: GpuChannel): boolean {
    const news = this.#cursorNews
    if (news === CursorNews.NONE) return false
    this.#cursorNews = CursorNews.NONE
    const position = { scanout: this.#index, x: this.#x, y: this.#y }
    const cursor = this.#cursor
    if (!cursor) channel.tell('CURSOR_POS_HIDE', position)
    else if (news === CursorNews.POSITION) channel.tell('CURSOR_POS', position)
    else {
      const { hotX, hotY } = cursor
      channel.tell('CURSOR_UPDATE', { ...position, hotX, hotY, pixels: multiplied(cursor.data) })
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
      // It comes with pixels: QEMU makes a picture of the new size here, and puts it up at the next update.
      channel.tell('SCANOUT', { scanout: this.#index, width, height })
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
    channel.tell('SCANOUT', { scanout: this.#index, width: 0, height: 0 })
    return true
  }
}

/** A cursor's pixels with alpha multiplied into the colours; for a guest that had them so, just what it had. */
function multiplied(straight: Uint8Array): Uint8Array {
  const pixels = straight.slice()
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3]
    for (let channel = i; channel < i + 3; channel++) pixels[channel] = Math.round((pixels[channel] * alpha) / 0xff)
  }
  return pixels
}
