import {
  ABS_X,
  ABS_Y,
  BTN_EXTRA,
  BTN_LEFT,
  BTN_MIDDLE,
  BTN_RIGHT,
  BTN_SIDE,
  BUS_VIRTUAL,
  EV_ABS,
  EV_KEY,
  EV_REL,
  REL_HWHEEL,
  REL_HWHEEL_HI_RES,
  REL_WHEEL,
  REL_WHEEL_HI_RES,
} from './event-codes.ts'
import { InputDevice } from './input.ts'

/** Position of the right and the lower edge of the screen. The left and the upper edge are at 0. */
export const ABS_MAX = 32767

/**
 * Creates a mouse with absolute positions: the guest's pointer has the position of the viewer's pointer.
 *
 * Linux classifies the device by its events. With positions and BTN_LEFT, but no touch, finger or pen, it is a mouse to
 * udev (ID_INPUT_MOUSE) and an absolute pointer to libinput, like QEMU's tablet. It has no properties, because
 * INPUT_PROP_DIRECT means a touch screen: software that checks only this property would show no pointer.
 *
 * Wheels have both resolutions of Linux: a step is 120 high-resolution units, and a program reads one of the two. So
 * send both in a frame: REL_WHEEL_HI_RES always, REL_WHEEL when a step is complete.
 */
export function createTablet(): InputDevice {
  const axis = { min: 0, max: ABS_MAX }
  return new InputDevice({
    name: 'Outboard tablet',
    serial: 'tablet',
    ids: { bus: BUS_VIRTUAL, vendor: 0x1af4, product: 2, version: 1 },
    properties: [],
    events: {
      [EV_KEY]: [BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA],
      [EV_REL]: [REL_WHEEL, REL_HWHEEL, REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES],
      [EV_ABS]: [ABS_X, ABS_Y],
    },
    axes: { [ABS_X]: axis, [ABS_Y]: axis },
  })
}
