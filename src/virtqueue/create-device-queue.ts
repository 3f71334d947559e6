import type { QueueControl, QueueSetup } from './device-queue.ts'
import { PackedQueue } from './packed-queue.ts'
import { SplitQueue } from './split-queue.ts'

/**
 * Returns the device's side of a queue that the driver configured. The queue is `broken` if its size is invalid, or if
 * an area is misaligned or outside guest memory.
 */
export function createDeviceQueue(setup: QueueSetup): QueueControl {
  return setup.packed ? new PackedQueue(setup) : new SplitQueue(setup)
}
