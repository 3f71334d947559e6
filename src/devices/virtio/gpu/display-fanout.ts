import type { CursorPicture, Display, Rect, Surface } from '../../../services/display.ts'

/**
 * Several displays as one: each is told everything. Where they have to be asked what their viewers want, it is the first that
 * has an opinion.
 *
 *     const gpu = new GpuDevice(new SeveralDisplays([window, recorder]))
 */
export class DisplayFanout implements Display {
  readonly preferredModes?: NonNullable<Display['preferredModes']>
  readonly #displays: readonly Display[]

  constructor(displays: readonly Display[]) {
    this.#displays = displays
    const asked = displays.find(({ preferredModes }) => preferredModes)
    if (asked) this.preferredModes = (told) => asked.preferredModes?.(told)
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
