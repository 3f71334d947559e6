import { Damage } from '../../../services/damage.ts'
import type { CursorPicture, Rect, Surface } from '../../../services/display.ts'
import type { Size } from '../../../services/rect.ts'
import type { GpuChannel } from './gpu-channel.ts'
import type { PixelPieces } from './pixel-pieces.ts'

/** Part of the cursor that must be sent. */
const CursorChange = { NONE: 0, POSITION: 1, PICTURE: 2 } as const
type CursorChange = (typeof CursorChange)[keyof typeof CursorChange]

/** One scanout at a front-end: its surface and cursor, and the changes that must be sent. */
export class FrontEndScanout {
  readonly #index: number
  #surface: Surface | undefined
  /** Size that was sent to the front-end; undefined if the scanout is off there. */
  #shown: Size | undefined
  /** Damage since rectangles were last taken, and the rest of those rectangles. */
  readonly #damage = new Damage()
  #rects: Rect[] = []
  #cursor: CursorPicture | undefined
  #x = 0
  #y = 0
  #cursorChange: CursorChange = CursorChange.NONE

  constructor(index: number) {
    this.#index = index
  }

  show(surface: Surface | undefined): void {
    this.#surface = surface
    this.#rects = []
    this.#damage.addAll()
  }

  /** Adds damage. @returns true if it was merged with damage that is not sent yet */
  addDamage(rect: Rect): boolean {
    const isMerged = !this.#damage.isEmpty || this.#rects.length > 0
    this.#damage.add(rect)
    return isMerged
  }

  setCursor(cursor: CursorPicture | undefined): void {
    this.#cursor = cursor
    this.#cursorChange = CursorChange.PICTURE
  }

  moveCursor(x: number, y: number): void {
    this.#x = x
    this.#y = y
    if (this.#cursor && this.#cursorChange === CursorChange.NONE) this.#cursorChange = CursorChange.POSITION
  }

  /** Marks everything to be sent again: another front-end connected. */
  resend(): void {
    this.#shown = undefined
    this.show(this.#surface)
    this.#cursorChange = this.#cursor ? CursorChange.PICTURE : CursorChange.NONE
  }

  /** Sends the next message. @returns false if there was none */
  sendNext(channel: GpuChannel, pieces: PixelPieces): boolean {
    return this.#sendCursor(channel) || this.#sendPixels(channel, pieces)
  }

  #sendCursor(channel: GpuChannel): boolean {
    const change = this.#cursorChange
    if (change === CursorChange.NONE) return false
    this.#cursorChange = CursorChange.NONE
    const position = { scanout: this.#index, x: this.#x, y: this.#y }
    const cursor = this.#cursor
    if (!cursor) channel.send('CURSOR_POS_HIDE', position)
    else if (change === CursorChange.POSITION) channel.send('CURSOR_POS', position)
    else {
      const { hotX, hotY } = cursor
      channel.send('CURSOR_UPDATE', { ...position, hotX, hotY, pixels: multiplied(cursor.data) })
    }
    return true
  }

  #sendPixels(channel: GpuChannel, pieces: PixelPieces): boolean {
    const surface = this.#surface
    if (!surface) return this.#sendOff(channel)
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

  #sendOff(channel: GpuChannel): boolean {
    if (!this.#shown) return false
    this.#shown = undefined
    channel.send('SCANOUT', { scanout: this.#index, width: 0, height: 0 })
    return true
  }
}

/** Converts straight alpha to premultiplied alpha. Exact if the guest's pixels were premultiplied before. */
function multiplied(straight: Uint8Array): Uint8Array {
  const pixels = straight.slice()
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3]
    for (let channel = i; channel < i + 3; channel++) pixels[channel] = Math.round((pixels[channel] * alpha) / 0xff)
  }
  return pixels
}
