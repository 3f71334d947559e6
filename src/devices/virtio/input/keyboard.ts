import {
  BUS_VIRTUAL,
  EV_KEY,
  EV_LED,
  EV_REP,
  KEY_ESC,
  KEY_F24,
  KEY_KPDOT,
  KEY_MICMUTE,
  KEY_PLAYCD,
  KEY_ZENKAKUHANKAKU,
  LED_CAPSL,
  LED_NUML,
  LED_SCROLLL,
  REP_DELAY,
  REP_PERIOD,
} from './event-codes.ts'
import { InputDevice } from './input.ts'

const LEDS = [LED_NUML, LED_CAPSL, LED_SCROLLL]

export interface KeyboardOptions {
  /** Called when the guest switches a light on or off, for example LED_CAPSL. */
  readonly onLed: (code: number, on: boolean) => void
}

/**
 * Creates a PC keyboard with every key code that Linux defines below 256: function keys to F24, number pad, Japanese
 * and Korean keys, power, media, browser and application keys.
 *
 * It has EV_REP, so the guest repeats pressed keys: send the press and the release of each key, but no repetitions.
 */
export function createKeyboard({ onLed }: KeyboardOptions): InputDevice {
  return new InputDevice(
    {
      name: 'Outboard keyboard',
      serial: 'keyboard',
      ids: { bus: BUS_VIRTUAL, vendor: 0x1af4, product: 1, version: 1 },
      properties: [],
      events: {
        [EV_KEY]: [
          ...range(KEY_ESC, KEY_KPDOT),
          ...range(KEY_ZENKAKUHANKAKU, KEY_F24),
          ...range(KEY_PLAYCD, KEY_MICMUTE),
        ],
        [EV_LED]: LEDS,
        [EV_REP]: [REP_DELAY, REP_PERIOD],
      },
      axes: {},
    },
    (type, code, value) => {
      if (type === EV_LED && LEDS.includes(code)) onLed(code, value !== 0)
    },
  )
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}
