import type { BounceMemory } from '../memory/bounce-memory.ts'
import type { GuestMemory } from '../memory/guest-memory.ts'
import { after, Pending } from '../pending/pending.ts'
import { createDeviceQueue } from '../virtqueue/create-device-queue.ts'
import type { QueueSetup } from '../virtqueue/device-queue.ts'
import { ShadowRing } from '../virtqueue/shadow-ring.ts'
import type { VirtioDevice } from './device.ts'
import { DeviceGuard } from './device-guard.ts'
import { type DeviceStateInspection, inspectDevice } from './device-inspection.ts'
import { Feature, hasFeature } from './feature.ts'
import { GatedQueue } from './gated-queue.ts'
import { bounceFeatures, bounceRefusal, featureRefusal, offeredFeatures, ringFeatures } from './negotiation.ts'
import { QueueArea, QueueState } from './queue-state.ts'
import { Session } from './session.ts'
import { DRIVER_STATUS, Status } from './status.ts'

/** Transport of a device, as `DeviceState` uses it. */
export interface DeviceTransport {
  readonly memory: GuestMemory
  /** Sends a used buffer notification for a queue. */
  queueInterrupt(queue: number): void
  /** Sends a configuration change notification: the configuration space or the status changed. */
  configInterrupt(): void
  /** Resets the transport's state of a queue, because the queue was reset. */
  queueReset(queue: number): void
  /** Resets the transport's state of the driver, because the device was reset. */
  deviceReset(): void
  log(line: string): void
}

/**
 * State of a virtio device that is independent of the transport: status, features, queues, reset. @virtio 2, 3
 *
 *     const state = new DeviceState(device, transport)
 *     state.acceptFeatures(1, state.offeredFeatures(1))          // VERSION_1 is bit 32
 *     state.writeStatus(Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK)
 *     state.configurableQueue(0)?.addressWords.set([0x1000, 0, 0x2000, 0, 0x3000, 0])
 *     state.enableQueue(0)
 *     state.writeStatus(state.status | Status.DRIVER_OK)         // the device is activated
 *     state.notify(0)
 *     state.reset()                                              // undefined: nothing was in flight, status reads 0
 *
 * No method throws. If the device throws, the error is caught and the device needs a reset.
 */
export class DeviceState {
  readonly offered: bigint
  readonly queues: readonly QueueState[]
  readonly #device: VirtioDevice
  readonly #transport: DeviceTransport
  #status = 0
  #accepted = 0n
  #session: Session | undefined
  /** Wait for the present device reset. */
  #resetting: Pending | undefined
  /** First part of that wait: the requests in flight. */
  #quiescing: Pending | undefined
  #held = false
  /** True while queues are stopped because the memory map changed. */
  #relocating = false
  readonly #guard: DeviceGuard

  constructor(device: VirtioDevice, transport: DeviceTransport) {
    this.#device = device
    this.#transport = transport
    this.#guard = new DeviceGuard(
      device.name,
      (line) => transport.log(line),
      (reason) => this.#fail(reason),
    )
    this.offered = offeredFeatures(device)
    this.queues = device.queueSizes.map((size) => new QueueState(size))
    device.config.onChange = () => {
      if (this.#session && !this.resetting) this.#transport.configInterrupt()
    }
  }

  /** Bits of the status field; 0 only after a reset completed. */
  get status(): number {
    return this.#status
  }

  /** Negotiated feature bits; 0 before FEATURES_OK. */
  get negotiated(): bigint {
    return (this.#status & Status.FEATURES_OK) !== 0 ? this.#accepted : 0n
  }

  /** True during a device reset: writes are ignored until the status reads 0. @virtio 4.1.4.3.2 */
  get resetting(): boolean {
    return this.#resetting !== undefined
  }

  /** Returns 32 offered feature bits, beginning with bit 32 * `word`; 0 past the last word. */
  offeredFeatures(word: number): number {
    return featureWord(this.#transport.memory.bounce ? bounceFeatures(this.offered) : this.offered, word)
  }

  /** Returns 32 feature bits that the driver accepted, beginning with bit 32 * `word`. */
  acceptedFeatures(word: number): number {
    return featureWord(this.#accepted, word)
  }

  /** Sets 32 bits that the driver accepts. Ignored after FEATURES_OK. @virtio 3.1.1 */
  acceptFeatures(word: number, bits: number): void {
    if (this.resetting || (this.#status & Status.FEATURES_OK) !== 0 || word > 3) return
    const shift = BigInt(word * 32)
    this.#accepted = (this.#accepted & ~(0xffff_ffffn << shift)) | (BigInt(bits >>> 0) << shift)
  }

  /**
   * Writes the status. 0 resets the device; any other value sets bits and clears none. FEATURES_OK is set only if the
   * accepted features are valid, DRIVER_OK only if FEATURES_OK is set and FAILED is not.
   * @virtio 2.1.1, 3.1.1
   */
  writeStatus(value: number): void {
    if (value === 0) {
      this.reset()
      return
    }
    if (this.resetting) return
    const set = value & DRIVER_STATUS & ~this.#status
    this.#status |= set & ~(Status.FEATURES_OK | Status.DRIVER_OK)
    if ((set & Status.FEATURES_OK) !== 0) {
      const refusal =
        featureRefusal(this.#device, this.#accepted) ??
        (this.#transport.memory.bounce && bounceRefusal(this.#device, this.#accepted))
      if (refusal === undefined) {
        this.#status |= Status.FEATURES_OK
        this.#guard.call('negotiated', () => this.#device.negotiated?.(this.#accepted))
      } else {
        this.#guard.log(`FEATURES_OK refused: ${refusal}`)
      }
    }
    if (
      (set & Status.DRIVER_OK) !== 0 &&
      (this.#status & (Status.FEATURES_OK | Status.FAILED)) === Status.FEATURES_OK
    ) {
      this.#status |= Status.DRIVER_OK
      this.#activate()
    }
  }

  /** Prevents the device from popping chains while `held`. Chains in flight are finished; available ones wait. */
  hold(held: boolean): void {
    if (held === this.#held) return
    this.#held = held
    this.#updateGates()
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
  }

  /**
   * Follows a change of the memory map. If regions were removed, or rings moved, requests in flight are finished first,
   * in the memory they use. Queues whose rings moved resume at their position; queues whose rings were removed resume
   * when those return.
   * @param removed true if regions were removed
   * @returns a wait until removed regions are no longer accessed; undefined if they already are not
   */
  memoryChanged(removed: boolean): void | Pending {
    // Not the whole reset: its flush of bounce memory needs replies of the client, which waits for this call.
    if (this.#resetting) return this.#quiescing
    const session = this.#session
    const { memory } = this.#transport
    const isAffected = (queue: QueueState) =>
      queue.displaced(memory) || queue.returned(memory) || (removed && (queue.live?.position.inFlight ?? 0) > 0)
    if (!session || !this.queues.some(isAffected)) return
    this.#relocating = true
    this.#updateGates()
    return after(
      this.#guard.wait('quiesce', () => this.#device.quiesce()),
      () => this.#reopenQueues(session),
    )
  }

  /** Returns a queue that the driver may configure: one that exists, is not enabled and is not being reset. */
  configurableQueue(index: number): QueueState | undefined {
    const queue = this.queues[index]
    return !queue || queue.enabled || queue.resetting || this.resetting ? undefined : queue
  }

  /** Enables a queue. After DRIVER_OK this requires RING_RESET, else it is ignored. @virtio 2.6.1.2 */
  enableQueue(index: number): void {
    const queue = this.configurableQueue(index)
    const session = this.#session
    if (!queue || (session && !hasFeature(session.features, Feature.RING_RESET))) return
    queue.enabled = true
    if (!session) return
    this.#openQueue(session, index)
    this.#updateGates()
    this.notify(index)
  }

  /** Resets one queue. Its `resetting` is true until the device stopped using it. @virtio 2.6.1.1 */
  resetQueue(index: number): void {
    const queue = this.queues[index]
    if (!queue || queue.resetting || this.resetting || !hasFeature(this.negotiated, Feature.RING_RESET)) return
    const { live } = queue
    const session = this.#session
    const done = () => {
      // A device reset may have completed meanwhile, and the driver may have enabled the queue again.
      if (session !== this.#session || (live && !queue.resetting)) return
      this.#session?.queues.fill(undefined, index, index + 1)
      queue.reset()
      this.#transport.queueReset(index)
    }
    if (!live) {
      done()
      return
    }
    queue.resetting = true
    live.open = false
    queue.shadowRing?.close()
    after(this.#flushedAfter(this.#guard.wait('resetQueue', () => this.#device.resetQueue?.(index))), done)
  }

  /**
   * Publishes all queues. Call it before a thread sleeps: devices may publish in a microtask, which would run too late.
   */
  publish(): void {
    for (const { live } of this.queues) live?.publish()
  }

  /** Serves chains found by polling; drivers need not notify until `stopPolling`. @returns whether there were any */
  poll(): boolean {
    let found = false
    for (let index = 0; index < this.queues.length; index++) {
      const { live, shadowRing } = this.queues[index]
      // A shadow ring changes only when it is fetched.
      if (!live?.open || shadowRing) continue
      live.polled = true
      if (!live.hasWork()) continue
      this.#serve(index)
      found = true
    }
    return found
  }

  /** Enables driver notifications again after `poll`. */
  stopPolling(): void {
    for (let index = 0; index < this.queues.length; index++) {
      const { live, shadowRing } = this.queues[index]
      if (!live?.polled || shadowRing) continue
      live.polled = false
      this.#serve(index)
    }
  }

  /** Handles a notification by the driver. Ignored before DRIVER_OK and for a queue that does not exist. */
  notify(index: number): void {
    const queue = this.queues[index]
    if (queue?.stoppedAt) this.#guard.log(`notification for queue ${index} ignored: its ring is not in guest memory`)
    if (queue?.shadowRing && queue.live?.open) queue.shadowRing.fetchAvailable()
    else this.#serve(index)
  }

  #serve(index: number): void {
    if (!this.queues[index]?.live?.open) return
    try {
      this.#device.notify(index)
    } catch (error) {
      this.#guard.report('notify', error)
    }
  }

  /** Generation of the configuration space. @virtio 2.5, 4.1.4.3.1 */
  get configGeneration(): number {
    return this.#device.config.generation
  }

  readConfig(offset: number, width: number): number {
    return this.#device.config.read(offset, width)
  }

  writeConfig(offset: number, width: number, value: number): void {
    if (this.resetting) return
    this.#guard.call('config', () => this.#device.config.write(offset, width, value))
  }

  /**
   * Resets the device: within this call if nothing is in flight, else when the requests in flight are finished. A reset
   * during a reset has no further effect. @virtio 2.4
   * @returns a wait for the end of the reset; undefined if it is complete
   */
  reset(): void | Pending {
    if (this.#resetting) return this.#resetting
    if (!this.#session) {
      this.#finishReset()
      return
    }
    for (const queue of this.queues) {
      if (queue.live) queue.live.open = false
      queue.shadowRing?.close()
    }
    const quiescing = this.#guard.wait('quiesce', () => this.#device.quiesce())
    const wait = this.#flushedAfter(quiescing)
    const reset = new Pending()
    // Set before `after`, because the wait may already have finished.
    if (wait) {
      this.#resetting = reset
      this.#quiescing = quiescing || undefined
    }
    after(wait, () => {
      this.#finishReset()
      reset.finish()
    })
    return this.#resetting
  }

  inspect(): DeviceStateInspection {
    return inspectDevice(this.#device, this)
  }

  /** Returns `wait`, extended with bounce memory until all writes reached the guest. */
  #flushedAfter(wait: void | Pending): void | Pending {
    const { bounce } = this.#transport.memory
    return bounce ? after(wait, () => bounce.flushed()) : wait
  }

  #finishReset(): void {
    // First: a late completion must not reach a queue.
    for (const queue of this.queues) queue.reset()
    this.#session = undefined
    this.#guard.call('reset', () => this.#device.reset())
    this.#resetting = undefined
    this.#quiescing = undefined
    this.#status = 0
    this.#accepted = 0n
    this.#transport.deviceReset()
  }

  #activate(): void {
    const failed = (this.#status & Status.DEVICE_NEEDS_RESET) !== 0
    const session = new Session(this.#transport.memory, this.#accepted, this.queues.length, (stale, reason) => {
      if (stale === this.#session) this.#fail(reason)
    })
    this.#session = session
    for (let i = 0; i < this.queues.length; i++) if (this.queues[i].enabled) this.#openQueue(session, i)
    // A broken queue interrupts the driver, which may have reset the device within that call.
    if (session !== this.#session) return
    this.#updateGates()
    this.#guard.call('activate', () => this.#device.activate(session))
    // Configuration changes and failures before DRIVER_OK were not signalled yet.
    if (this.#device.config.changed || failed) this.#transport.configInterrupt()
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
  }

  #openQueue(session: Session, index: number): void {
    const state = this.queues[index]
    const { bounce } = session.memory
    const interrupt = () => this.#transport.queueInterrupt(index)
    const setup = this.#guard.call(
      'queue',
      (): QueueSetup => ({
        index,
        memory: session.memory,
        size: state.size,
        descriptorArea: state.address(QueueArea.DESCRIPTOR),
        driverArea: state.address(QueueArea.DRIVER),
        deviceArea: state.address(QueueArea.DEVICE),
        ...ringFeatures(session.features),
        start: state.begin(session.memory),
        interrupt: bounce ? () => bounce.afterFlush(interrupt) : interrupt,
        onBroken: (reason) => session.needsReset(`queue ${index}: ${reason}`),
      }),
    )
    const queue = setup && this.#guard.call('queue', () => createDeviceQueue(setup))
    if (!queue || session !== this.#session) return
    state.live = new GatedQueue(queue)
    if (bounce) this.#openShadowRing(state, setup, bounce)
    session.queues[index] = state.live
  }

  #openShadowRing(state: QueueState, setup: QueueSetup, bounce: BounceMemory): void {
    const refusal = bounceRefusal(this.#device, this.#accepted)
    if (refusal !== undefined) {
      setup.onBroken(refusal)
      return
    }
    if (state.live) state.live.polled = true
    state.shadowRing = new ShadowRing(setup, bounce, {
      ready: () => this.#serve(setup.index),
      broken: setup.onBroken,
    })
  }

  /** Reopens queues in the changed memory map. Nothing is in flight. */
  #reopenQueues(session: Session): void {
    this.#relocating = false
    const { memory } = session
    const current = session === this.#session && !this.resetting
    for (let i = 0; current && i < this.queues.length; i++) {
      const queue = this.queues[i]
      if (queue.displaced(memory)) {
        queue.stop()
        session.queues[i] = undefined
      }
      if (!queue.resetting && queue.returned(memory)) this.#openQueue(session, i)
    }
    if (current) this.#guard.call('activate', () => this.#device.activate(session))
    this.#updateGates()
    for (let i = 0; i < this.queues.length; i++) if (this.queues[i].live) this.notify(i)
  }

  #updateGates(): void {
    const open =
      this.#session !== undefined &&
      !this.#held &&
      !this.#relocating &&
      (this.#status & Status.DEVICE_NEEDS_RESET) === 0
    for (const queue of this.queues) if (queue.live) queue.live.open = open && !queue.resetting && !this.resetting
  }

  /** Sets DEVICE_NEEDS_RESET, with one log line and one configuration interrupt. @virtio 2.1.2 */
  #fail(reason: string): void {
    if ((this.#status & Status.DEVICE_NEEDS_RESET) !== 0) return
    this.#guard.log(`needs a reset: ${reason}`)
    this.#status |= Status.DEVICE_NEEDS_RESET
    this.#updateGates()
    if ((this.#status & Status.DRIVER_OK) !== 0) this.#transport.configInterrupt()
  }
}

function featureWord(set: bigint, word: number): number {
  return word > 3 ? 0 : Number((set >> BigInt(word * 32)) & 0xffff_ffffn)
}
