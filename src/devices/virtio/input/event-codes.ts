// Linux input events that the devices send or receive (include/uapi/linux/input-event-codes.h).

/** Event types. */
export const EV_SYN = 0x00
export const EV_KEY = 0x01
export const EV_REL = 0x02
export const EV_ABS = 0x03
export const EV_LED = 0x11
export const EV_REP = 0x14

export const SYN_REPORT = 0

/** First and last key of each range of keys that a keyboard has. */
export const KEY_ESC = 1
export const KEY_KPDOT = 83
export const KEY_ZENKAKUHANKAKU = 85
export const KEY_F24 = 194
export const KEY_PLAYCD = 200
export const KEY_MICMUTE = 248

export const BTN_LEFT = 0x110
export const BTN_RIGHT = 0x111
export const BTN_MIDDLE = 0x112
export const BTN_SIDE = 0x113
export const BTN_EXTRA = 0x114

export const REL_HWHEEL = 0x06
export const REL_WHEEL = 0x08
export const REL_WHEEL_HI_RES = 0x0b
export const REL_HWHEEL_HI_RES = 0x0c

export const ABS_X = 0x00
export const ABS_Y = 0x01

export const LED_NUML = 0x00
export const LED_CAPSL = 0x01
export const LED_SCROLLL = 0x02

export const REP_DELAY = 0x00
export const REP_PERIOD = 0x01

export const BUS_VIRTUAL = 0x06
