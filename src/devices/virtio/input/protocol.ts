/** Values of `select`: the information that the configuration space then contains. @virtio 5.8.4 */
export const ConfigSelect = {
  UNSET: 0x00,
  ID_NAME: 0x01,
  ID_SERIAL: 0x02,
  ID_DEVIDS: 0x03,
  PROP_BITS: 0x10,
  EV_BITS: 0x11,
  ABS_INFO: 0x12,
} as const

// Configuration space, 136 bytes; the driver writes the first two    @virtio 5.8.4
//
//   0        1        2      3          8
//   | select | subsel | size | reserved | up to 128 bytes: string, bitmap, axis or ids |
//
export const CONFIG_SELECT = 0
export const CONFIG_SUBSEL = 1
export const CONFIG_SIZE = 2
export const CONFIG_ANSWER = 8
export const CONFIG_BYTES = 136
export const ANSWER_BYTES = CONFIG_BYTES - CONFIG_ANSWER

// Event, in both queues, 8 bytes, little-endian                      @virtio 5.8.6
//
//   0      2      4       8
//   | type | code | value |
//
export const EVENT_BYTES = 8
