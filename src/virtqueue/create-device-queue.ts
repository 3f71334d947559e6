import type { QueueControl, QueueSetup } from './device-queue.ts'
import { PackedQueue } from './packed-queue.ts'
import { SplitQueue } from './split-queue.ts'

/**
 * The device's side of the queue a driver configured. One that cannot work (outside memory, misaligned, of an
 * impossible size) comes back `broken`.
 */
export function createDeviceQueue(setup: QueueSetup): QueueControl {
  return setup.packed ? new PackedQueue(setup) : new SplitQueue(setup)
}
