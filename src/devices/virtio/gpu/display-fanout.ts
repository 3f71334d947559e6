import type { CursorPicture, Display, Rect, Surface } from '../../../services/display.ts'

/**
 * Several displays as one: each receives all calls. The preferred modes come from the first display that provides them.
 *
 *     const gpu = new GpuDevice(new DisplayFanout([window, recorder]))
 */
export class DisplayFanout implements Display {
  readonly preferredModes?: NonNullable<Display['preferredModes']>
  readonly #displays: readonly Display[]

  constructor(displays: readonly Display[]) {
    this.#displays = displays
    const first = displays.find(({ preferredModes }) => preferredModes)
    if (first) this.preferredModes = (callback) => first.preferredModes?.(callback)
  }

  scanout(index: number, surface: Surface | undefined): void {
    for (const display of this.#displays) display.scanout(index, surface)
  }

  damage(index: number, rect: Rect): void {
    for (const display of this.#displays) display.damage(index, rect)
  }

  cursor(index: number, cursor: CursorPicture | undefined): void {
    for (const display of this.#displays) display.cursor(index, cursor)
  }

  moveCursor(index: number, x: number, y: number): void {
    for (const display of this.#displays) display.moveCursor(index, x, y)
  }
}
