import { Damage } from '../services/damage.ts'
import type { CursorPicture, Display, Rect, Surface } from '../services/display.ts'
import { cutRect } from './cut-rect.ts'
import type { Cursor, Pixels, ScanoutMode } from './machine.ts'

/** Receives the events of a display on behalf of its viewer. */
export interface DisplayViewer {
  mode(scanout: number, mode: ScanoutMode | undefined): void
  damage(scanout: number, rects: readonly Rect[]): void
  cursor(scanout: number, cursor: Cursor | undefined): void
}

interface Scanout {
  surface: Surface | undefined
  /** Damage since the last event. */
  readonly damage: Damage
  /** True while damage was sent and not acknowledged. */
  announced: boolean
  /** True if the viewer reads the scanout in place and learns damage there: damage is not sent. */
  inPlace: boolean
}

/**
 * Display of a viewer in another thread or process, which receives damage and reads pixels on request. Damage is merged
 * until the viewer acknowledges the previous one; the guest never waits.
 */
export class ViewerDisplay implements Display {
  readonly #viewer: DisplayViewer
  readonly #scanouts: Scanout[] = []

  constructor(viewer: DisplayViewer) {
    this.#viewer = viewer
  }

  scanout(index: number, surface: Surface | undefined): void {
    const scanout = this.#at(index)
    const before = scanout.surface
    scanout.surface = surface
    if (surface?.width !== before?.width || surface?.height !== before?.height) {
      this.#viewer.mode(index, surface && { width: surface.width, height: surface.height })
    }
    // Another surface of the same size is a page flip: all pixels may differ.
    if (surface) this.damage(index, { x: 0, y: 0, width: surface.width, height: surface.height })
  }

  damage(index: number, rect: Rect): void {
    const scanout = this.#at(index)
    if (scanout.inPlace) return
    scanout.damage.add(rect)
    this.#announce(index, scanout)
  }

  cursor(index: number, cursor: CursorPicture | undefined): void {
    this.#viewer.cursor(index, cursor)
  }

  /** No effect: the viewer draws the cursor at its own pointer. */
  moveCursor(): void {}

  /** The viewer acknowledged damage. */
  taken(index: number): void {
    const scanout = this.#at(index)
    scanout.announced = false
    this.#announce(index, scanout)
  }

  /** Starts or stops in-place reading of a scanout by the viewer. All pixels count as damaged. */
  readInPlace(index: number, inPlace: boolean): void {
    const scanout = this.#at(index)
    scanout.inPlace = inPlace
    const { surface } = scanout
    if (surface) this.damage(index, { x: 0, y: 0, width: surface.width, height: surface.height })
  }

  /** Reads pixels of a scanout. @param part default: all @returns undefined if the scanout is off */
  read(index: number, part: Rect | undefined): Pixels | undefined {
    const surface = this.#at(index).surface
    if (!surface) return undefined
    const rect = cutRect(part, surface)
    const data = new Uint8Array(rect.width * rect.height * 4)
    if (data.length > 0) surface.read(rect, data, 0, rect.width * 4)
    return { ...rect, data }
  }

  #at(index: number): Scanout {
    let scanout = this.#scanouts[index]
    if (!scanout) {
      scanout = { surface: undefined, damage: new Damage(), announced: false, inPlace: false }
      this.#scanouts[index] = scanout
    }
    return scanout
  }

  #announce(index: number, scanout: Scanout): void {
    if (scanout.announced || scanout.damage.isEmpty || !scanout.surface) return
    scanout.announced = true
    this.#viewer.damage(index, scanout.damage.take(scanout.surface))
  }
}
