import type { DeviceStateInspection } from '../virtio/device-inspection.ts'

/** Serves one peer after another. */
export interface DeviceServer {
  readonly closed: Promise<void>
  inspect(): DeviceStateInspection | Promise<DeviceStateInspection>
  close(): void
}
