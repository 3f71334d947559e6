import type { GuestMemory } from '../memory/guest-memory.ts'
import { after, all, type Pending } from '../pending/pending.ts'
import { createDeviceQueue } from '../virtqueue/create-device-queue.ts'
import type { QueueControl, QueueSetup } from '../virtqueue/device-queue.ts'
import type { DriverSession, VirtioDevice } from './device.ts'
import { DeviceGuard } from './device-guard.ts'
import { ringFeatures } from './negotiation.ts'

/** What a transport knows of a queue that opens; the rest follows from the negotiated features. */
export type QueueOpening = Omit<
  QueueSetup,
  'index' | 'memory' | 'onBroken' | 'packed' | 'eventIdx' | 'indirect' | 'inOrder'
>

export interface LifecycleEvents {
  /** The device failed: it serves nothing until a reset. Called once a failure. */
  failed(): void
  /** Calls `publish` at the end of the current batch of host completions. */
  batchEnds(publish: () => void): void
  log(line: string): void
}

/** An open queue, and why its gate may be closed. */
interface OpenQueue {
  readonly queue: QueueControl
  enabled: boolean
  /** Calls of `stop` without a `resume`. */
  stops: number
}

/**
 * Life cycle of a device: negotiation, queues, service, failure and reset, the same for every transport.
 *
 *      negotiate        open, start               fail
 *     -----------> ready ---------> serving ----------------> failed
 *                    ^               |   ^ stop, resume,         |
 *                    |               |   | close, open           |
 *                    +---- reset ----+---+-----------------------+
 *
 * A transport translates registers or messages into these calls. A queue has a gate: while it is closed nothing is popped,
 * and what is in flight can still be pushed. Nothing here throws: what a device throws makes it fail.
 *
 *     const lifecycle = new Lifecycle(device, memory, { failed: () => interrupt(), batchEnds: queueMicrotask, log })
 *     lifecycle.negotiate(features)
 *     lifecycle.open(0, { size: 64, descriptorArea: 0x1000, driverArea: 0x2000, deviceArea: 0x3000, interrupt })
 *     lifecycle.start()
 *     lifecycle.notify(0)
 *     lifecycle.reset()                        // undefined: nothing was in flight
 *
 * @virtio 2.1, 2.4, 2.6.1
 */
export class Lifecycle {
  readonly guard: DeviceGuard
  /** Negotiated features. */
  features = 0n
  /** True once features were negotiated. */
  negotiated = false
  /** Reason why the device needs a reset; undefined while it works. */
  failure: string | undefined
  readonly #device: VirtioDevice
  readonly #memory: GuestMemory
  readonly #events: LifecycleEvents
  readonly #queues: (OpenQueue | undefined)[]
  #session: Session | undefined
  #started = false
  /** `publish` is due at the end of the batch. */
  #publishDue = false
  /** The device was reset after `negotiate`, and has to be given the features again. */
  #forgotten = false
  #held = false

  readonly #batchEnded = (): void => {
    this.#publishDue = false
    this.publish()
  }

  constructor(device: VirtioDevice, memory: GuestMemory, events: LifecycleEvents) {
    this.#device = device
    this.#memory = memory
    this.#events = events
    this.guard = new DeviceGuard(
      device.name,
      (line) => events.log(line),
      (reason) => this.fail(reason),
    )
    this.#queues = device.queueSizes.map(() => undefined)
  }

  /** True from the first open queue of a driver until the reset. */
  get active(): boolean {
    return this.#session !== undefined
  }

  /** Takes the features that driver and device agreed on. There must be no session. */
  negotiate(features: bigint): void {
    this.features = features
    this.negotiated = true
    this.#forgotten = false
    this.guard.call('negotiated', () => this.#device.negotiated?.(features))
  }

  /** Begins a session, if there is none. */
  begin(): void {
    if (this.#session) return
    if (this.#forgotten) this.negotiate(this.features)
    this.#session = new Session(this.#memory, this.features, this.#queues.length, {
      fail: (session, reason) => {
        if (session === this.#session) this.fail(reason)
      },
      publishSoon: () => this.#publishSoon(),
    })
  }

  /**
   * Creates a queue of the session. The device finds it in `session.queues`, and serves it once it was started and notified.
   * @returns the queue, possibly `broken`; undefined if there is none, because the device was reset meanwhile
   */
  open(index: number, opening: QueueOpening): QueueControl | undefined {
    this.begin()
    const session = this.#session as Session
    const queue = this.guard.call('queue', () =>
      createDeviceQueue({
        ...opening,
        ...ringFeatures(this.features),
        index,
        memory: this.#memory,
        onBroken: (reason) => session.needsReset(`queue ${index}: ${reason}`),
      }),
    )
    // A broken queue interrupts the driver, which may reset the device within the call.
    if (!queue || session !== this.#session) return undefined
    const entry = { queue, enabled: true, stops: 0 }
    this.#queues[index] = entry
    session.queues[index] = queue
    this.#updateGate(entry)
    return queue
  }

  /** Hands the session to the device, once. */
  start(): void {
    const session = this.#session
    if (!session || this.#started) return
    this.#started = true
    this.guard.call('start', () => this.#device.start(session))
    this.#updateGates()
  }

  /** The driver made chains available. Without effect for a queue that is not open. */
  notify(index: number): void {
    if (!this.#queues[index]?.queue.open) return
    try {
      this.#device.notify(index)
    } catch (error) {
      this.guard.report('notify', error)
    }
  }

  /** Closes or opens the gate of one queue. Notify after opening. */
  enable(index: number, enabled: boolean): void {
    const entry = this.#queues[index]
    if (!entry || entry.enabled === enabled) return
    entry.enabled = enabled
    this.#updateGate(entry)
  }

  /** Closes all gates while `held`. Nothing is lost. Notify after releasing. */
  hold(held: boolean): void {
    if (held === this.#held) return
    this.#held = held
    this.#updateGates()
  }

  /**
   * Closes a queue's gate, and has the device complete or return what is in flight of it.
   * @returns a wait for that; undefined if nothing is in flight. `close` or `resume` must follow
   */
  stop(index: number): void | Pending {
    const entry = this.#queues[index]
    if (!entry) return
    entry.stops++
    entry.queue.open = false
    return after(
      this.guard.wait('stopQueue', () => this.#device.stopQueue(index)),
      () => entry.queue.publish(),
    )
  }

  /** Opens the gate of a stopped queue again. Notify afterwards. */
  resume(index: number): void {
    const entry = this.#queues[index]
    if (!entry) return
    entry.stops--
    this.#updateGate(entry)
  }

  /** Takes a queue from the device. Completions of its chains no longer reach the driver. */
  close(index: number): void {
    this.#queues[index]?.queue.detach()
    this.#queues[index] = undefined
    if (this.#session) this.#session.queues[index] = undefined
  }

  /** Detaches all queues from guest memory: chains in flight stay so for the next back-end. */
  detach(): void {
    for (const entry of this.#queues) entry?.queue.detach()
  }

  /** Closes all gates. @returns a wait for everything in flight; undefined if there is nothing. `forget` must follow */
  stopAll(): void | Pending {
    for (const entry of this.#queues) if (entry) entry.queue.open = false
    return all(this.#queues.map((entry, index) => entry && this.stop(index)))
  }

  /** Ends the session: the device is in its state before any driver. @virtio 2.4 */
  forget(): void {
    for (let index = 0; index < this.#queues.length; index++) this.close(index)
    this.#session = undefined
    this.#started = false
    this.#forgotten = this.negotiated
    this.guard.call('reset', () => this.#device.reset())
    this.failure = undefined
  }

  /** Stops everything and ends the session. @returns a wait, if something was in flight */
  reset(): void | Pending {
    return after(this.stopAll(), () => this.forget())
  }

  /** Makes the device fail. The first reason is logged. @virtio 2.1.2 */
  fail(reason: string): void {
    if (this.failure !== undefined) return
    this.failure = reason
    this.guard.log(`needs a reset: ${reason}`)
    this.#updateGates()
    this.#events.failed()
  }

  /** Makes pushed chains of all queues visible. */
  publish(): void {
    for (const entry of this.#queues) entry?.queue.publish()
  }

  /** Serves what drivers made available without a notification. @returns true if there was anything */
  poll(): boolean {
    let found = false
    for (let index = 0; index < this.#queues.length; index++) {
      const queue = this.#queues[index]?.queue
      if (!queue?.open) continue
      queue.polled = true
      if (!queue.hasWork()) continue
      this.notify(index)
      found = true
    }
    return found
  }

  /** Has drivers notify again. */
  stopPolling(): void {
    for (let index = 0; index < this.#queues.length; index++) {
      const queue = this.#queues[index]?.queue
      if (!queue?.polled) continue
      queue.polled = false
      this.notify(index)
    }
  }

  #publishSoon(): void {
    if (this.#publishDue) return
    this.#publishDue = true
    this.#events.batchEnds(this.#batchEnded)
  }

  #updateGates(): void {
    for (const entry of this.#queues) if (entry) this.#updateGate(entry)
  }

  #updateGate({ queue, enabled, stops }: OpenQueue): void {
    queue.open = this.#started && enabled && stops === 0 && !this.#held && this.failure === undefined
  }
}

interface SessionOwner {
  /** The device cannot continue. The session may be over. */
  fail(session: Session, reason: string): void
  publishSoon(): void
}

/** A driver's time with a device. Queues are put in while they are open. */
class Session implements DriverSession {
  readonly queues: (QueueControl | undefined)[]

  readonly #owner: SessionOwner

  constructor(
    readonly memory: GuestMemory,
    readonly features: bigint,
    queues: number,
    owner: SessionOwner,
  ) {
    this.queues = new Array(queues).fill(undefined)
    this.#owner = owner
  }

  publishSoon(): void {
    this.#owner.publishSoon()
  }

  needsReset(reason: string): void {
    this.#owner.fail(this, reason)
  }
}
