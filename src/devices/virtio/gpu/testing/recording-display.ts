import type { CursorPicture, Display, Surface } from '../../../../services/display.ts'
import type { Rect } from '../../../../services/rect.ts'

/** A display that records all calls. */
export class RecordingDisplay implements Display {
  readonly surfaces: (Surface | undefined)[] = []
  readonly cursors: (CursorPicture | undefined)[] = []
  readonly positions: { readonly x: number; readonly y: number }[] = []
  /** Damage in order, with the scanout. */
  readonly damages: (Rect & { readonly index: number })[] = []
  /** Set by tests whose viewers have preferred modes. */
  preferredModes?: NonNullable<Display['preferredModes']>

  scanout(index: number, surface: Surface | undefined): void {
    this.surfaces[index] = surface
  }

  damage(index: number, rect: Rect): void {
    this.damages.push({ index, ...rect })
  }

  cursor(index: number, cursor: CursorPicture | undefined): void {
    this.cursors[index] = cursor
  }

  moveCursor(index: number, x: number, y: number): void {
    this.positions[index] = { x, y }
  }

  /** Pixels of a rectangle of a scanout, as words B | G << 8 | R << 16 | X << 24. @default the whole scanout */
  pixels(index: number, rect?: Rect): number[] {
    const surface = this.surfaces[index]
    if (!surface) return []
    const { width, height } = surface
    const whole = rect ?? { x: 0, y: 0, width, height }
    const target = new Uint8Array(whole.width * whole.height * 4)
    surface.read(whole, target, 0, whole.width * 4)
    return [...new Uint32Array(target.buffer)]
  }
}
