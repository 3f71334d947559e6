import type { Machine, Pixels, Rect, ScanoutMode } from '../machine/machine.ts'
import { Damage } from '../services/damage.ts'
import { cursorHeader, rectHeader, screenHeader } from './protocol.ts'
import { type Send, TabStream } from './tab-stream.ts'

/**
 * Pixels of one frame at most, 64 MiB: the guest chooses the size of its screen. The rest follows in the next frame.
 */
const MAX_PIXELS = 1 << 24

/** A scanout as one tab sees it: its mode, the newest pixels where they changed, and its cursor. */
export class ScreenStream extends TabStream {
  readonly #damage = new Damage()
  #cursorChanged = true
  /** The mode the tab knows of; undefined where the screen is off, which is what a tab begins with. */
  #shown: ScanoutMode | undefined

  constructor(
    private readonly machine: Machine,
    private readonly scanout: number,
    private readonly send: Send,
  ) {
    super()
    this.redraw()
  }

  damage(rect: Rect): void {
    this.#damage.add(rect)
    this.schedule()
  }

  /** Everything is to be sent: a new tab, another mode. */
  redraw(): void {
    this.#damage.addAll()
    this.schedule()
  }

  cursorChanged(): void {
    this.#cursorChanged = true
    this.schedule()
  }

  protected override async sendNewest(): Promise<boolean> {
    const mode = this.machine.scanouts[this.scanout]
    const pixels = mode ? await this.#read(this.#take(mode)) : []
    if (!isSame(mode, this.machine.scanouts[this.scanout])) {
      this.redraw()
      return false
    }
    const changed = pixels.length > 0 || this.#cursorChanged || !isSame(mode, this.#shown)
    if (!changed) return false
    if (this.#cursorChanged) this.#sendCursor()
    this.#shown = mode
    this.send(
      screenHeader(this.scanout, pixels.length, mode),
      ...pixels.flatMap((part) => [rectHeader(part), part.data]),
    )
    return true
  }

  /** Takes damage for one frame, whole rows of it. */
  #take(mode: ScanoutMode): Rect[] {
    const taken: Rect[] = []
    let left = MAX_PIXELS
    for (const rect of this.#damage.take(mode)) {
      const height = Math.min(rect.height, Math.floor(left / rect.width))
      left -= height * rect.width
      if (height > 0) taken.push({ ...rect, height })
      this.#damage.add({ ...rect, y: rect.y + height, height: rect.height - height })
    }
    if (!this.#damage.isEmpty) this.schedule()
    return taken
  }

  #sendCursor(): void {
    this.#cursorChanged = false
    const cursor = this.machine.cursors[this.scanout]
    if (cursor) this.send(cursorHeader(this.scanout, cursor), cursor.data)
    else this.send(cursorHeader(this.scanout, undefined))
  }

  async #read(rects: readonly Rect[]): Promise<Pixels[]> {
    try {
      const parts = await Promise.all(rects.map((rect) => this.machine.readPixels(this.scanout, rect)))
      return parts.flatMap((part) => (part && part.data.length > 0 ? [part] : []))
    } catch {
      // The machine is no more: the page keeps its last picture, and the feed tells why.
      return []
    }
  }
}

function isSame(a: ScanoutMode | undefined, b: ScanoutMode | undefined): boolean {
  return a?.width === b?.width && a?.height === b?.height
}
