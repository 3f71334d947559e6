import {
  ABS_X,
  ABS_Y,
  EV_ABS,
  EV_KEY,
  EV_REL,
  REL_HWHEEL,
  REL_HWHEEL_HI_RES,
  REL_WHEEL,
  REL_WHEEL_HI_RES,
} from '../devices/virtio/input/event-codes.ts'
import type { InputDevice } from '../devices/virtio/input/input.ts'
import { ABS_MAX } from '../devices/virtio/input/tablet.ts'

/** High-resolution wheel units per step, as in Linux. */
const UNITS_PER_STEP = 120

/** Sends the viewer's keys to the guest's keyboard. */
export class GuestKeyboard {
  constructor(private readonly device: InputDevice) {}

  key(code: number, pressed: boolean): void {
    this.device.send([[EV_KEY, code, pressed ? 1 : 0]])
  }
}

/** Sends the viewer's pointer to the guest's tablet. */
export class GuestPointer {
  readonly #vertical = new Wheel(REL_WHEEL, REL_WHEEL_HI_RES)
  readonly #horizontal = new Wheel(REL_HWHEEL, REL_HWHEEL_HI_RES)

  constructor(private readonly device: InputDevice) {}

  /** Moves the pointer. @param x, y fractions of the screen, 0 to 1 */
  move(x: number, y: number): void {
    const place = (fraction: number) => Math.round(Math.min(Math.max(fraction, 0), 1) * ABS_MAX)
    this.device.send([
      [EV_ABS, ABS_X, place(x)],
      [EV_ABS, ABS_Y, place(y)],
    ])
  }

  button(code: number, pressed: boolean): void {
    this.device.send([[EV_KEY, code, pressed ? 1 : 0]])
  }

  wheel(vertical: number, horizontal: number): void {
    const events = [...this.#vertical.turn(vertical), ...this.#horizontal.turn(horizontal)]
    if (events.length > 0) this.device.send(events)
  }
}

/** Wheel: sends a high-resolution event for each turn, and a plain event for each whole step. */
class Wheel {
  /** Units since the last whole step. */
  #units = 0
  /** Fraction of a unit that is not sent yet. */
  #rest = 0

  constructor(
    private readonly step: number,
    private readonly fine: number,
  ) {}

  turn(steps: number): (readonly [number, number, number])[] {
    const exact = steps * UNITS_PER_STEP + this.#rest
    const units = Math.trunc(exact)
    this.#rest = exact - units
    if (units === 0) return []
    this.#units += units
    const whole = Math.trunc(this.#units / UNITS_PER_STEP)
    this.#units -= whole * UNITS_PER_STEP
    const fine = [EV_REL, this.fine, units] as const
    return whole === 0 ? [fine] : [fine, [EV_REL, this.step, whole]]
  }
}
