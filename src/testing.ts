/**
 * The driver's side, for tests, fuzzers and benchmarks of devices: `outboard/testing`.
 *
 * `testDevice` registers the tests that every device must pass; `activateDevice` gives a device a driver; `QueueRig` one queue with both its sides; the drivers alone are there for
 * those that want to misbehave.
 */

export { Random } from './virtio/testing/contract/random.ts'
export { type DeviceTestOptions, testDevice } from './virtio/testing/contract/test-device.ts'
export {
  type Answer,
  type MakeDevice,
  type RequestOptions,
  type Subject,
  type TestGuest,
  TRAFFIC_PAGES,
} from './virtio/testing/contract/test-guest.ts'
export { activateDevice, DeviceRig, type DeviceRigOptions } from './virtio/testing/device-rig.ts'
export * from './virtqueue/driver/index.ts'
