import type { GuestMemory } from '../memory/guest-memory.ts'
import type { MemoryRegion } from '../memory/memory-region.ts'
import type { Pending } from '../pending/pending.ts'
import type { DeviceQueue } from '../virtqueue/device-queue.ts'
import type { ConfigSpace } from './config-space.ts'
import type { DeviceId } from './device-id.ts'

/**
 * Virtio device, independent of the transport. @virtio 2
 *
 * A device is constructed with the services it needs, receives a `DriverSession` at DRIVER_OK and must drop it at
 * reset. No method may throw because of driver input.
 */
export interface VirtioDevice {
  readonly id: DeviceId
  /** Name in logs: `block`, `gpu`. Several devices of a type have distinct names. */
  readonly name: string
  /** Maximum size of each queue, a power of two. The array length is the number of queues. */
  readonly queueSizes: readonly number[]
  /**
   * Device-specific feature bits that it offers: 0 to 23 and 50 to 127. Ring and transport bits are added elsewhere.
   */
  readonly features: bigint
  /** Bit number by feature name, for logs and inspection. */
  readonly featureNames?: Readonly<Record<string, number>>
  /** Pairs of feature bits: a driver that accepts `feature` must also accept `requires`. @virtio 2.2.1 */
  readonly featureDependencies?: readonly (readonly [feature: number, requires: number])[]
  readonly config: ConfigSpace
  readonly sharedMemory?: readonly SharedMemoryRegion[]
  /** True if it accesses guest memory outside chains, by addresses that the driver sent. @default false */
  readonly reachesMemory?: boolean
  /**
   * Called at FEATURES_OK, for configuration fields that depend on the negotiated features and that the driver reads
   * before DRIVER_OK. `reset` must undo it.
   */
  negotiated?(features: bigint): void
  /** Called at DRIVER_OK: memory, queues and features are final. */
  activate(session: DriverSession): void
  /** Called when the driver made chains available in a queue, and once for each queue after `activate`. */
  notify(queue: number): void
  /**
   * Stops taking requests until `activate`.
   * @returns a wait for the requests in flight; undefined if there are none. A promise is an error: its listeners would
   *   run too late, see `Pending`
   */
  quiesce(): void | Pending
  /** Returns to the initial state. Called after `quiesce`; the session must not be used any more. */
  reset(): void
  /**
   * Stops using one queue (RING_RESET). Without this method the feature is not offered. If the driver enables the queue
   * again, `session.queues` holds a new object.
   * @returns a wait for its chains in flight; undefined if there are none
   * @virtio 2.6.1
   */
  resetQueue?(queue: number): void | Pending
  /** Returns device-specific state for debugging, as plain JSON values. */
  inspect?(): Record<string, unknown>
}

/** Use of a device by one driver, from DRIVER_OK to reset. */
export interface DriverSession {
  readonly memory: GuestMemory
  /** Negotiated feature bits. */
  readonly features: bigint
  /** Enabled queues by index; undefined if the driver did not enable the queue. */
  readonly queues: readonly (DeviceQueue | undefined)[]
  /** Reports an error from which the device cannot recover without a reset. @virtio 2.1.1 */
  needsReset(reason: string): void
}

/** Memory of the device that the guest can map. @virtio 2.10 */
export interface SharedMemoryRegion {
  readonly id: number
  readonly memory: MemoryRegion
}
