import type { GuestMemory } from '../memory/guest-memory.ts'
import type { Pending } from '../pending/pending.ts'
import type { SavedState } from '../snapshot/saved-state.ts'
import type { Suspendable } from '../snapshot/suspendable.ts'
import type { DeviceQueue } from '../virtqueue/device-queue.ts'
import type { ConfigSpace } from './config-space.ts'
import type { DeviceId } from './device-id.ts'
import type { SharedMemoryRegion, SharedWindow } from './shared-memory.ts'

/**
 * Virtio device, independent of the transport. @virtio 2
 *
 * A device is built with what it needs from its host, receives a `DriverSession` when the driver is ready, and loses it at
 * reset. Nothing here may throw because of what a driver did.
 */
export interface VirtioDevice extends Suspendable {
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
  /** DRIVER_OK: memory, queues and features are agreed. */
  start(session: DriverSession): void
  /** The driver made chains available in a queue. Also called once for each queue after `start`. */
  notify(queue: number): void
  /**
   * Gives up a queue, whose gate is closed: the device completes its chains in flight, and unpops or returns those that wait
   * for data. The queue may be served again afterwards, or come back as another object in `session.queues`. Called for each
   * queue before a reset and before `suspend`.
   * @returns a wait for the chains in flight; undefined if there are none. A promise would resolve too late: @see Pending
   * @virtio 2.6.1
   */
  stopQueue(queue: number): void | Pending
  /** Returns to the state before any driver. All queues were stopped, and the session is over. */
  reset(): void
  /**
   * Pauses the host side: its data waits or is refused, and the state does not change until `resume`. All queues were stopped.
   * @returns a wait for work of the host; undefined if there is none
   */
  suspend(): void | Pending
  /** Ends a suspension. Each queue is notified afterwards. */
  resume(): void
  /** @see Suspendable.save */
  save(): SavedState
  /**
   * Takes the state of another device of its kind, for the next `start`: the device is suspended and has no session. `reset`
   * drops it.
   * @throws {SnapshotError} if the state is not valid; nothing of it is restored then
   */
  restore(state: SavedState): void
  /** State worth seeing while debugging, as plain JSON values. */
  inspect?(): Record<string, unknown>
}

/** Use of a device by one driver, from DRIVER_OK to reset. */
export interface DriverSession {
  readonly memory: GuestMemory
  /** Negotiated feature bits. */
  readonly features: bigint
  /** Enabled queues by index; undefined if the driver did not enable the queue. */
  readonly queues: readonly (DeviceQueue | undefined)[]
  /**
   * Publishes all queues at the end of the current batch of host completions. For chains that are pushed outside of `notify`:
   * each host decides what a batch is, such as one turn of its reactor.
   */
  publishSoon(): void
  /** Returns a window of the device; undefined if the transport or the front-end has none. @see SharedMemoryRegion */
  window(id: number): SharedWindow | undefined
  /** The device met an error it cannot recover from by itself. @virtio 2.1.1 */
  needsReset(reason: string): void
}
