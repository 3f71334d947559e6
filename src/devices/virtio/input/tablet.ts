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

/** Position of the right and the lower edge of the screen; 0 is that of the left and the upper. */
export const ABS_MAX = 32767

/**
 * A mouse that says where it is, not how far it moved: the guest's pointer is where the viewer's is.
 *
 * What Linux takes it for follows from what it has. Positions and BTN_LEFT, but no touch, finger or pen, are a mouse to
 * udev (ID_INPUT_MOUSE), hence an absolute pointer to libinput; QEMU's tablet is the same. It has no properties:
 * INPUT_PROP_DIRECT means a touch screen: software that looks for it alone would show no pointer.
 *
 * The wheels come in both resolutions, as Linux has them: 120 high resolution units are a step, and a program hears
 * either. So send both in a frame: REL_WHEEL_HI_RES always, REL_WHEEL when a step is full.
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
