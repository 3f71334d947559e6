/**
 * The driver's side, for tests, fuzzers and benchmarks of devices: `outboard/testing`.
 *
 * `activateDevice` gives a device a driver; `QueueRig` one queue with both its sides; the drivers alone are there for
 * those that want to misbehave.
 */
export { activateDevice, DeviceRig, type DeviceRigOptions } from './virtio/testing/device-rig.ts'
export * from './virtqueue/driver/index.ts'
