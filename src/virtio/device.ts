import type { GuestMemory } from '../memory/guest-memory.ts'
import type { MemoryRegion } from '../memory/memory-region.ts'
import type { Pending } from '../pending/pending.ts'
import type { DeviceQueue } from '../virtqueue/device-queue.ts'
import type { ConfigSpace } from './config-space.ts'
import type { DeviceId } from './device-id.ts'

/**
 * What a virtio device is, whatever carries it. @virtio 2
 *
 * A device is built with what it needs from its host, receives a `DriverSession` when the driver is ready, and loses it at
 * reset. Nothing here may throw because of what a driver did.
 */
export interface VirtioDevice {
  readonly id: DeviceId
  /** For people: `block`, `gpu`; where there are several of a kind, with what tells them apart. */
  readonly name: string
  /** Largest size of each queue, a power of two; the number of queues is the length. */
  readonly queueSizes: readonly number[]
  /** Device-specific bits it offers (0-23 and 50-127); ring and transport bits are not its business. */
  readonly features: bigint
  /** What people call those bits: the constants of the device's protocol. */
  readonly featureNames?: Readonly<Record<string, number>>
  /** Pairs of bits: a driver that accepts the first has to accept the second too. @virtio 2.2.1 */
  readonly featureDependencies?: readonly (readonly [feature: number, requires: number])[]
  readonly config: ConfigSpace
  readonly sharedMemory?: readonly SharedMemoryRegion[]
  /** It reads guest memory by addresses that a driver tells it, not only what a chain holds. */
  readonly reachesMemory?: boolean
  /**
   * FEATURES_OK: for what the driver reads from the configuration space before DRIVER_OK and that depends on what was
   * agreed. `reset` takes it back.
   */
  negotiated?(features: bigint): void
  /** DRIVER_OK: memory, queues and features are agreed. */
  start(session: DriverSession): void
  /** The driver made chains available in a queue. Also called once for each queue after `start`. */
  notify(queue: number): void
  /**
   * Gives up a queue, whose gate is closed: the device completes or returns its chains in flight. The queue may be served again
   * afterwards, or come back as another object in `session.queues`. Called for each queue before a reset.
   * @returns a wait for the chains in flight; undefined if there are none. A promise would resolve too late: @see Pending
   * @virtio 2.6.1
   */
  stopQueue(queue: number): void | Pending
  /** Returns to the state before any driver. All queues were stopped, and the session is over. */
  reset(): void
  /** State worth seeing while debugging, as plain JSON values. */
  inspect?(): Record<string, unknown>
}

/** One driver's time with a device, from DRIVER_OK to reset. */
export interface DriverSession {
  readonly memory: GuestMemory
  /** What driver and device agreed on. */
  readonly features: bigint
  /** Enabled queues by index; undefined where the driver did not enable one. */
  readonly queues: readonly (DeviceQueue | undefined)[]
  /**
   * Publishes all queues at the end of the current batch of host completions. For chains that are pushed outside of `notify`:
   * each host decides what a batch is, such as one turn of its reactor.
   */
  publishSoon(): void
  /** The device met an error it cannot recover from by itself. @virtio 2.1.1 */
  needsReset(reason: string): void
}

/** Memory of the device that the guest can map. @virtio 2.10 */
export interface SharedMemoryRegion {
  readonly id: number
  readonly memory: MemoryRegion
}
