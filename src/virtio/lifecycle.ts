import type { GuestMemory } from '../memory/guest-memory.ts'
import { after, all, type Pending } from '../pending/pending.ts'
import { bitSet, nested, nullable, record, type Shaped, text } from '../snapshot/shape.ts'
import { SnapshotError } from '../snapshot/snapshot-error.ts'
import { createDeviceQueue } from '../virtqueue/create-device-queue.ts'
import type { QueueControl, QueueSetup } from '../virtqueue/device-queue.ts'
import type { DriverSession, VirtioDevice } from './device.ts'
import { DeviceGuard } from './device-guard.ts'
import { ringFeatures } from './negotiation.ts'
import type { SharedWindow } from './shared-memory.ts'

/** Maximum length of the reason for a failure in a saved state. */
const MAX_REASON = 1024

/** Shape of a saved life cycle, without its queues: the transport saves their positions, and what it opens them with. */
export const LIFECYCLE = record({
  /** Null before negotiation. */
  features: nullable(bitSet(128)),
  failure: nullable(text(MAX_REASON)),
  device: nested,
})
export type SavedLifecycle = Shaped<typeof LIFECYCLE>

/** Properties of a queue that the transport knows; the others follow from the negotiated features. */
export type QueueOpening = Omit<
  QueueSetup,
  'index' | 'memory' | 'onBroken' | 'packed' | 'eventIdx' | 'indirect' | 'inOrder'
>

export interface LifecycleEvents {
  /** The device failed: it serves nothing until a reset. Called once a failure. */
  failed(): void
  /** Calls `publish` at the end of the current batch of host completions. */
  batchEnds(publish: () => void): void
  /** Returns a window of the device, if the transport has windows. @see DriverSession.window */
  window?(id: number): SharedWindow | undefined
  log(line: string): void
}

/** Open queue, with the conditions of its gate. */
interface OpenQueue {
  readonly queue: QueueControl
  /** Set by the transport. */
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
 * and chains in flight can still be pushed. Nothing here throws: an exception of the device makes it fail.
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
  readonly #device: VirtioDevice
  readonly #memory: GuestMemory
  readonly #events: LifecycleEvents
  readonly #queues: (OpenQueue | undefined)[]
  #features = 0n
  #negotiated = false
  #failure: string | undefined
  #session: Session | undefined
  /** True after `start`, until the session ends. */
  #started = false
  /** `publish` is due at the end of the batch. */
  #publishDue = false
  /** True if the device was reset after `negotiate`, and must receive the features again. */
  #forgotten = false
  #held = false
  #suspended = false

  readonly #batchEnded = (): void => {
    this.#publishDue = false
    this.publish()
  }
  readonly #publishSoon = (): void => {
    if (this.#publishDue) return
    this.#publishDue = true
    this.#events.batchEnds(this.#batchEnded)
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

  /** Negotiated features. */
  get features(): bigint {
    return this.#features
  }

  /** True once features were negotiated. */
  get negotiated(): boolean {
    return this.#negotiated
  }

  /** Reason why the device needs a reset; undefined while it works. */
  get failure(): string | undefined {
    return this.#failure
  }

  /** Session of the current driver: from `begin`, or its first open queue, until the reset. */
  get session(): DriverSession | undefined {
    return this.#session
  }

  /** Takes the features that driver and device agreed on. There must be no session. */
  negotiate(features: bigint): void {
    this.#features = features
    this.#negotiated = true
    this.#forgotten = false
    this.guard.call('negotiated', () => this.#device.negotiated?.(features))
  }

  /** Returns the session of the current driver; a new one after a reset. */
  begin(): DriverSession {
    return this.#begin()
  }

  /**
   * Creates a queue of the session. The device finds it in `session.queues`, and serves it once it was started and notified.
   * @returns the queue, possibly `broken`; undefined if the device was reset within the call
   */
  open(index: number, opening: QueueOpening): QueueControl | undefined {
    const session = this.#begin()
    const queue = this.guard.call('queue', () =>
      createDeviceQueue({
        ...opening,
        ...ringFeatures(this.#features),
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
   * Suspends the device: closes all gates, stops the queues, and pauses the host side. Nothing is lost, and queues keep their
   * positions. `resumeAll` must follow, also after a reset.
   * @returns a wait until nothing is in flight; undefined if nothing is
   */
  suspendAll(): void | Pending {
    this.#suspended = true
    this.#updateGates()
    const stopped = all(this.#queues.map((entry, index) => entry && this.#giveUp(entry, index)))
    return after(stopped, () => this.guard.wait('suspend', () => this.#device.suspend()))
  }

  /** Ends a suspension. Notify all queues afterwards. */
  resumeAll(): void {
    if (!this.#suspended) return
    this.#suspended = false
    this.guard.call('resume', () => this.#device.resume())
    this.#updateGates()
  }

  /** True from `suspendAll` to `resumeAll`. */
  get suspended(): boolean {
    return this.#suspended
  }

  /** Returns the state of the suspended device. @throws {SnapshotError} if the device cannot be saved */
  save(): SavedLifecycle {
    return {
      features: this.#negotiated ? this.#features : null,
      failure: this.#failure?.slice(0, MAX_REASON) ?? null,
      device: this.#device.save(),
    }
  }

  /**
   * Takes a saved state, with the device suspended. Ends the session first. The queues must be opened and the device started
   * afterwards, as for a driver.
   * @throws {SnapshotError} if the state is not valid; the device is in its state before any driver then
   */
  restore({ features, failure, device }: SavedLifecycle): void {
    this.forget()
    try {
      this.#device.restore(device)
    } catch (error) {
      this.guard.call('reset', () => this.#device.reset())
      if (error instanceof SnapshotError) throw error
      throw new SnapshotError(`${this.#device.name}: ${error instanceof Error ? error.message : String(error)}`)
    }
    this.#forgotten = false
    this.#negotiated = false
    if (features !== null) this.negotiate(features)
    this.#failure = failure ?? undefined
  }

  /**
   * Closes a queue's gate, and has the device complete or return its chains in flight. `close` or `resume` must follow.
   * @returns a wait for them; undefined if none is in flight
   */
  stop(index: number): void | Pending {
    const entry = this.#queues[index]
    if (!entry) return
    entry.stops++
    entry.queue.open = false
    return this.#giveUp(entry, index)
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

  /** Stops all queues. `forget` must follow. @returns a wait for all chains in flight; undefined if there are none */
  stopAll(): void | Pending {
    for (const entry of this.#queues) if (entry) entry.queue.open = false
    return all(this.#queues.map((entry, index) => entry && this.stop(index)))
  }

  /** Ends the session: the device is in its state before any driver. @virtio 2.4 */
  forget(): void {
    for (let index = 0; index < this.#queues.length; index++) this.close(index)
    this.#session = undefined
    this.#started = false
    this.#forgotten = this.#negotiated
    this.guard.call('reset', () => this.#device.reset())
    this.#failure = undefined
  }

  /** Ends the session and the failure, if any. @returns a wait for chains in flight; undefined if there are none */
  reset(): void | Pending {
    if (this.#session) return after(this.stopAll(), () => this.forget())
    this.#failure = undefined
  }

  /** Makes the device fail. The first reason is logged. @virtio 2.1.2 */
  fail(reason: string): void {
    if (this.#failure !== undefined) return
    this.#failure = reason
    this.guard.log(`needs a reset: ${reason}`)
    this.#updateGates()
    this.#events.failed()
  }

  /** Makes pushed chains of all queues visible. */
  publish(): void {
    for (const entry of this.#queues) entry?.queue.publish()
  }

  /** Serves chains that drivers made available without a notification. @returns true if there were any */
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

  /** Has the device give up a queue whose gate is closed. */
  #giveUp({ queue }: OpenQueue, index: number): void | Pending {
    // A device that was not started has no chains.
    if (!this.#started) return
    return after(
      this.guard.wait('stopQueue', () => this.#device.stopQueue(index)),
      () => queue.publish(),
    )
  }

  #begin(): Session {
    if (this.#session) return this.#session
    if (this.#forgotten) this.negotiate(this.#features)
    const session: Session = new Session(
      this.#memory,
      this.#features,
      this.#queues.length,
      this.#publishSoon,
      (reason) => {
        // A device may report the failure of a session that is over.
        if (session === this.#session) this.fail(reason)
      },
      (id) => this.#events.window?.(id),
    )
    this.#session = session
    return session
  }

  #updateGates(): void {
    for (const entry of this.#queues) if (entry) this.#updateGate(entry)
  }

  #updateGate({ queue, enabled, stops }: OpenQueue): void {
    queue.open =
      this.#started && enabled && stops === 0 && !this.#held && !this.#suspended && this.#failure === undefined
  }
}

/** A driver's time with a device. `queues` holds those that are open. */
class Session implements DriverSession {
  readonly queues: (QueueControl | undefined)[]

  constructor(
    readonly memory: GuestMemory,
    readonly features: bigint,
    queues: number,
    readonly publishSoon: () => void,
    readonly needsReset: (reason: string) => void,
    readonly window: (id: number) => SharedWindow | undefined,
  ) {
    this.queues = new Array(queues).fill(undefined)
  }
}
