import type { Machine, Pixels, Rect, ScanoutMode } from '../machine/machine.ts'
import { Damage } from '../services/damage.ts'
import { cursorHeader, rectHeader, screenHeader } from './protocol.ts'
import { type Send, TabStream } from './tab-stream.ts'

/**
 * Maximum number of pixels in one frame: 64 MiB. The guest chooses the size of its screen; the rest follows in further
 * frames.
 */
const MAX_PIXELS = 1 << 24

/** Stream of one scanout to a tab: mode, changed pixels and cursor. */
export class ScreenStream extends TabStream {
  readonly #damage = new Damage()
  #cursorChanged = true
  /** Mode that the tab has; undefined if the screen is off, as at the beginning. */
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

  /** Schedules everything, for a new tab or another mode. */
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

  /** Takes damage for one frame, in whole rows. */
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
      // The machine stopped: the page keeps its last picture, and the feed has the reason.
      return []
    }
  }
}

function isSame(a: ScanoutMode | undefined, b: ScanoutMode | undefined): boolean {
  return a?.width === b?.width && a?.height === b?.height
}
