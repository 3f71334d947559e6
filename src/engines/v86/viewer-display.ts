import type { CursorPicture, Display, Rect, Surface } from '../../devices/gpu/display.ts'
import type { Cursor, Pixels, ScanoutMode } from '../../machine/machine.ts'

/** Where a display sends what its viewer is told. */
export interface DisplayViewer {
  mode(scanout: number, mode: ScanoutMode | undefined): void
  damage(scanout: number, rects: readonly Rect[]): void
  cursor(scanout: number, cursor: Cursor | undefined): void
}

/** Rectangles kept apart; more become one that holds them all. */
const MOST_RECTS = 8

interface Scanout {
  surface: Surface | undefined
  /** What changed since the viewer was told. */
  damage: Rect[]
  /** The viewer was told of damage and has not answered. */
  told: boolean
}

/**
 * The display of a viewer on another thread: it is told what changed, and gets pixels when it asks for them. Until it has
 * answered, damage is gathered; nothing waits for it.
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
    // Another surface of the same size: a page flip, all of it may differ.
    if (surface) this.damage(index, { x: 0, y: 0, width: surface.width, height: surface.height })
  }

  damage(index: number, rect: Rect): void {
    const scanout = this.#at(index)
    if (scanout.damage.some((other) => contains(other, rect))) return
    scanout.damage = scanout.damage.filter((other) => !contains(rect, other))
    scanout.damage.push(rect)
    if (scanout.damage.length > MOST_RECTS) scanout.damage = [scanout.damage.reduce(union)]
    this.#tell(index, scanout)
  }

  cursor(index: number, cursor: CursorPicture | undefined): void {
    this.#viewer.cursor(index, cursor)
  }

  /** The viewer draws the cursor where its own pointer is. */
  moveCursor(): void {}

  /** The viewer took the damage it was told of. */
  taken(index: number): void {
    const scanout = this.#at(index)
    scanout.told = false
    this.#tell(index, scanout)
  }

  /** Pixels of a part, or all, of a scanout; undefined where it is off. */
  read(index: number, part: Rect | undefined): Pixels | undefined {
    const surface = this.#at(index).surface
    if (!surface) return undefined
    const x = Math.min(Math.max(part?.x ?? 0, 0), surface.width)
    const y = Math.min(Math.max(part?.y ?? 0, 0), surface.height)
    const width = Math.min(part?.width ?? surface.width, surface.width - x)
    const height = Math.min(part?.height ?? surface.height, surface.height - y)
    const data = new Uint8Array(Math.max(0, width) * Math.max(0, height) * 4)
    const rect = { x, y, width, height }
    if (data.length > 0) surface.read(rect, data, 0, width * 4)
    return { ...rect, data }
  }

  #at(index: number): Scanout {
    let scanout = this.#scanouts[index]
    if (!scanout) {
      scanout = { surface: undefined, damage: [], told: false }
      this.#scanouts[index] = scanout
    }
    return scanout
  }

  #tell(index: number, scanout: Scanout): void {
    if (scanout.told || scanout.damage.length === 0) return
    scanout.told = true
    this.#viewer.damage(index, scanout.damage)
    scanout.damage = []
  }
}

function contains(outer: Rect, inner: Rect): boolean {
  return (
    outer.x <= inner.x &&
    outer.y <= inner.y &&
    outer.x + outer.width >= inner.x + inner.width &&
    outer.y + outer.height >= inner.y + inner.height
  )
}

function union(a: Rect, b: Rect): Rect {
  const x = Math.min(a.x, b.x)
  const y = Math.min(a.y, b.y)
  return {
    x,
    y,
    width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y,
  }
}
