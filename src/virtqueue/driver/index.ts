/** The driver's side of virtqueues, for tests, fuzzers and benchmarks: `outboard/testing`. */
export { GuestAllocator } from './guest-allocator.ts'
export { PackedDriver } from './packed-driver.ts'
export type { Layout, Part, QueueDriver, RingAddresses } from './queue-driver.ts'
export { type Bytes, QueueRig, type QueueRigOptions, type Reply, type Request } from './queue-rig.ts'
export { SplitDriver } from './split-driver.ts'
