/** Bits of the device status field. SUSPEND is not offered, so not here. @virtio 2.1 */
export const Status = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const

/** What a driver may set; DEVICE_NEEDS_RESET is the device's to set, and nobody clears a bit but by reset. */
export const DRIVER_STATUS = Status.ACKNOWLEDGE | Status.DRIVER | Status.DRIVER_OK | Status.FEATURES_OK | Status.FAILED

/** Names of the bits that are set, lowest first. */
export function statusNames(status: number): string[] {
  return Object.entries(Status)
    .filter(([, bit]) => (status & bit) !== 0)
    .sort(([, a], [, b]) => a - b)
    .map(([name]) => name)
}
