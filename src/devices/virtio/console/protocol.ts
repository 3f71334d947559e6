/** Feature bits. @virtio 5.3.3 */
export const ConsoleFeature = {
  /** The configuration space has the size of port 0. */
  SIZE: 0,
  /** There are control queues, and ports beyond port 0. */
  MULTIPORT: 1,
  /** A byte written to the configuration space is output, with no queue at all. */
  EMERG_WRITE: 2,
} as const

// Configuration space, 12 bytes, little-endian                    @virtio 5.3.4
//
//   0      2      4              8          12
//   | cols | rows | max_nr_ports | emerg_wr |
//
export const CONFIG_COLS = 0
export const CONFIG_ROWS = 2
export const CONFIG_MAX_NR_PORTS = 4
export const CONFIG_EMERG_WR = 8
export const CONFIG_BYTES = 12

// Queues                                                          @virtio 5.3.2
//
//   0               1                2                 3                  4               5
//   | receiveq of 0 | transmitq of 0 | control receiveq | control transmitq | receiveq of 1 | transmitq of 1 | ...
//
export const CONTROL_RECEIVEQ = 2
export const CONTROL_TRANSMITQ = 3

/** The receiveq of a port; its transmitq is the next one. */
export function receiveq(port: number): number {
  return port === 0 ? 0 : 2 * port + 2
}

// Control message, little-endian                                  @virtio 5.3.6.2
//
//   0    4       6       8
//   | id | event | value | what follows: RESIZE has cols (2) and rows (2), PORT_NAME the name without a NUL
//
export const CONTROL_BYTES = 8

/** What a control message is about. @virtio 5.3.6.2 */
export const ControlEvent = {
  /** From the driver: it is ready for messages about ports (1), or it failed (0). */
  DEVICE_READY: 0,
  DEVICE_ADD: 1,
  DEVICE_REMOVE: 2,
  /** From the driver: it is ready for a port (1), or failed to add it (0). */
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  /** From both: this end was opened (1) or closed (0). */
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const
