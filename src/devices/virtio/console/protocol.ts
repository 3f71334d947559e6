/** Feature bits. @virtio 5.3.3 */
export const ConsoleFeature = {
  /** The configuration space contains the size of port 0. */
  SIZE: 0,
  /** The device has control queues, and can have more than one port. */
  MULTIPORT: 1,
  /** A byte that the driver writes to `emerg_wr` is output, without any queue. */
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

/** Returns the index of a port's receiveq. Its transmitq is the next queue. */
export function receiveq(port: number): number {
  return port === 0 ? 0 : 2 * port + 2
}

// Control message, little-endian                                  @virtio 5.3.6.2
//
//   0    4       6       8
//   | id | event | value | RESIZE: cols (2) and rows (2); PORT_NAME: the name without a NUL
//
export const CONTROL_BYTES = 8

/** Events of control messages. @virtio 5.3.6.2 */
export const ControlEvent = {
  /** From the driver: ready for messages about ports (1), or initialization failed (0). */
  DEVICE_READY: 0,
  DEVICE_ADD: 1,
  DEVICE_REMOVE: 2,
  /** From the driver: ready to use a port (1), or adding it failed (0). */
  PORT_READY: 3,
  CONSOLE_PORT: 4,
  RESIZE: 5,
  /** In both directions: the sender's end was opened (1) or closed (0). */
  PORT_OPEN: 6,
  PORT_NAME: 7,
} as const
