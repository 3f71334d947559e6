/** Bits of the device status field, without SUSPEND, which is not offered. @virtio 2.1 */
export const Status = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
} as const

/** Bits that the driver can set. Only the device sets DEVICE_NEEDS_RESET, and only a reset clears bits. */
export const DRIVER_STATUS = Status.ACKNOWLEDGE | Status.DRIVER | Status.DRIVER_OK | Status.FEATURES_OK | Status.FAILED

/** Returns the names of the bits that are set, lowest first. */
export function statusNames(status: number): string[] {
  return Object.entries(Status)
    .filter(([, bit]) => (status & bit) !== 0)
    .sort(([, a], [, b]) => a - b)
    .map(([name]) => name)
}
