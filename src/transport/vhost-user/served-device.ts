import type { GuestMemory } from '../../memory/guest-memory.ts'
import { after, type Pending } from '../../pending/pending.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { DeviceGuard } from '../../virtio/device-guard.ts'
import { Feature, featureSet, hasFeature } from '../../virtio/feature.ts'
import { GatedQueue } from '../../virtio/gated-queue.ts'
import { offeredFeatures, ringFeatures, unknownFeatures } from '../../virtio/negotiation.ts'
import { Session } from '../../virtio/session.ts'
import { createDeviceQueue } from '../../virtqueue/create-device-queue.ts'
import type { QueueSetup } from '../../virtqueue/device-queue.ts'
import { VhostUserError } from './vhost-user-error.ts'

/**
 * What a device offers to front-ends: without RING_RESET, since no message tells a back-end of the reset of one queue, and
 * the driver frees that queue's buffers. @virtio 2.6.1
 */
export function vhostFeatures(device: VirtioDevice): bigint {
  return offeredFeatures(device) & ~featureSet(Feature.RING_RESET)
}

/** What a front-end says of a ring, as far as a queue needs it. */
export type RingSetup = Omit<
  QueueSetup,
  'index' | 'memory' | 'onBroken' | 'packed' | 'eventIdx' | 'indirect' | 'inOrder'
>

/**
 * A device as vhost-user drives it: features come when the front-end says so, and each ring comes and goes by itself.
 *
 * The device is activated with its first ring, and stays so while rings stop and go on, as when the machine is paused:
 * what the driver made outlives that. Only `reset` ends it.
 */
export class ServedDevice {
  /** What was agreed on, without the bits that are vhost's own. */
  features = 0n
  /** Why no ring is served yet. */
  refusal: string | undefined = 'no features were set'
  /** Why it cannot go on until it is reset. */
  failure: string | undefined
  #session: Session | undefined
  /** The front-end is gone. */
  #detached = false

  /** @param onFailure called once for each `failure` */
  constructor(
    private readonly device: VirtioDevice,
    private readonly memory: GuestMemory,
    private readonly guard: DeviceGuard,
    private readonly onFailure: () => void,
  ) {}

  get offered(): bigint {
    return vhostFeatures(this.device)
  }

  /** It has a driver. */
  get active(): boolean {
    return this.#session !== undefined
  }

  /** @returns a wait for the reset of the driver before, if there is one */
  setFeatures(features: bigint): void | Pending {
    const unknown = unknownFeatures(this.device, features, this.offered)
    if (unknown !== undefined) throw new VhostUserError(unknown)
    if (features === this.features && this.refusal === undefined) return
    return after(this.#session && this.reset(), () => {
      if (this.#detached) return
      this.features = features
      // The driver cannot see a refusal, so every subset is served: a front-end may keep a feature that another needs
      // (QEMU itself has the control queue of a network device), and a legacy driver accepts no VERSION_1.
      this.refusal = undefined
      this.guard.call('negotiated', () => this.device.negotiated?.(features))
    })
  }

  hasFeature(bit: number): boolean {
    return hasFeature(this.features, bit)
  }

  get packed(): boolean {
    return ringFeatures(this.features).packed
  }

  /** Serves a ring from now on. @returns undefined where there can be no such queue */
  open(index: number, ring: RingSetup): GatedQueue | undefined {
    if (this.failure !== undefined || this.refusal !== undefined) return undefined
    const first = this.#session === undefined
    this.#session ??= new Session(this.memory, this.features, this.device.queueSizes.length, (session, reason) => {
      if (session === this.#session) this.fail(reason)
    })
    const session = this.#session
    const queue = this.guard.call('queue', () =>
      createDeviceQueue({
        ...ring,
        ...ringFeatures(this.features),
        index,
        memory: this.memory,
        onBroken: (reason) => session.needsReset(`ring ${index}: ${reason}`),
      }),
    )
    if (!queue || queue.broken !== undefined) return undefined
    const gated = new GatedQueue(queue)
    session.queues[index] = gated
    if (first) this.guard.call('activate', () => this.device.activate(session))
    gated.open = this.failure === undefined
    return gated
  }

  notify(index: number): void {
    if (this.failure !== undefined || !this.#session?.queues[index]) return
    try {
      this.device.notify(index)
    } catch (error) {
      this.guard.report('notify', error)
    }
  }

  /** Takes a ring's requests to their end. Its gate is to be closed before, and `drop` to be called after. */
  drain(index: number): void | Pending {
    const session = this.#session
    if (!session?.queues[index]) return
    if (this.device.resetQueue) return this.guard.wait('resetQueue', () => this.device.resetQueue?.(index))
    // A device that cannot give up one queue gives up all, and gets the others back.
    return after(
      this.guard.wait('quiesce', () => this.device.quiesce()),
      () => {
        if (session === this.#session) this.guard.call('activate', () => this.device.activate(session))
      },
    )
  }

  /** The ring is gone: what the device still has of it goes nowhere. */
  drop(index: number): void {
    this.#session?.queues.fill(undefined, index, index + 1)
  }

  /** From now on nothing reaches a ring, not even what is in flight: it is for whoever serves the rings next. */
  detach(): void {
    this.#detached = true
    for (const queue of this.#session?.queues ?? []) queue?.detach()
  }

  /** Forgets the driver. @returns a wait for what is in flight, if anything is */
  reset(): void | Pending {
    const session = this.#session
    if (!session) {
      this.failure = undefined
      return
    }
    for (const queue of session.queues) if (queue instanceof GatedQueue) queue.open = false
    const wait = this.guard.wait('quiesce', () => this.device.quiesce())
    return after(wait, () => {
      for (const queue of session.queues) queue?.detach()
      this.#session = undefined
      this.guard.call('reset', () => this.device.reset())
      this.failure = undefined
    })
  }

  /** The device cannot go on. One line for people, and the front-end is told. */
  fail(reason: string): void {
    if (this.failure !== undefined) return
    this.failure = reason
    this.guard.log(`needs a reset: ${reason}`)
    for (const queue of this.#session?.queues ?? []) if (queue instanceof GatedQueue) queue.open = false
    this.onFailure()
  }
}
