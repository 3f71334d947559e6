import type { BounceMemory } from '../memory/bounce-memory.ts'
import type { GuestMemory } from '../memory/guest-memory.ts'
import { after, all, Pending } from '../pending/pending.ts'
import type { SavedState } from '../snapshot/saved-state.ts'
import { bitSet, elements, flag, integer, record, stateShape, tuple } from '../snapshot/shape.ts'
import { SnapshotError } from '../snapshot/snapshot-error.ts'
import { ShadowRing } from '../virtqueue/shadow-ring.ts'
import type { VirtioDevice } from './device.ts'
import { type DeviceStateInspection, inspectDevice } from './device-inspection.ts'
import { Feature, hasFeature } from './feature.ts'
import { LIFECYCLE, Lifecycle, type QueueOpening } from './lifecycle.ts'
import { bounceFeatures, bounceRefusal, featureRefusal, offeredFeatures, ringFeatures } from './negotiation.ts'
import { QueueArea, QueueState, queueShape } from './queue-state.ts'
import { DRIVER_STATUS, Status } from './status.ts'

/** Returns the shape of the saved state of a device. */
function stateOf({ name, config, queueSizes }: VirtioDevice) {
  return stateShape(name, 1, {
    status: integer(0, 0xff),
    accepted: bitSet(128),
    lifecycle: LIFECYCLE,
    config: record({ bytes: elements(Uint8Array, config.size), generation: integer(0, 0xff), changed: flag }),
    queues: tuple(queueSizes.map(queueShape)),
  })
}

type SavedDevice = ReturnType<ReturnType<typeof stateOf>['read']>

/** Transport of a device, as its state uses it. */
export interface DeviceTransport {
  readonly memory: GuestMemory
  /** Interrupts the driver for a queue. */
  queueInterrupt(queue: number): void
  /** Interrupts the driver for the configuration space and the status. */
  configInterrupt(): void
  /** A queue was reset: the transport resets its state of the queue. */
  queueReset(queue: number): void
  /** Calls `publish` at the end of the current batch of host completions. */
  batchEnds(publish: () => void): void
  /** The device was reset: the transport resets its state of the driver. */
  deviceReset(): void
  log(line: string): void
}

/**
 * State of a device as its driver sees it in registers: status, features, queues, reset. @virtio 2, 3
 *
 *     const state = new DeviceState(device, transport)
 *     state.acceptFeatures(1, state.offeredFeatures(1))          // VERSION_1 is bit 32
 *     state.writeStatus(Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK)
 *     state.configurableQueue(0)?.addressWords.set([0x1000, 0, 0x2000, 0, 0x3000, 0])
 *     state.enableQueue(0)
 *     state.writeStatus(state.status | Status.DRIVER_OK)         // the device is started
 *     state.notify(0)
 *     state.reset()                                              // undefined: nothing was in flight, status reads 0
 *
 * Nothing here throws, whatever driver and device do: an exception of the device is caught, and the driver sees
 * DEVICE_NEEDS_RESET.
 */
export class DeviceState {
  readonly offered: bigint
  readonly queues: readonly QueueState[]
  readonly #device: VirtioDevice
  readonly #transport: DeviceTransport
  readonly #lifecycle: Lifecycle
  #status = 0
  #accepted = 0n
  /** Set while a reset waits for requests in flight. */
  #resetting: Pending | undefined
  /** First part of that wait: until the device has nothing in flight. */
  #stopping: Pending | undefined

  constructor(device: VirtioDevice, transport: DeviceTransport) {
    this.#device = device
    this.#transport = transport
    this.#lifecycle = new Lifecycle(device, transport.memory, {
      failed: () => this.#failed(),
      batchEnds: (publish) => transport.batchEnds(publish),
      log: (line) => transport.log(line),
    })
    this.offered = offeredFeatures(device)
    this.queues = device.queueSizes.map((size) => new QueueState(size))
    device.config.onChange = () => {
      if (this.#lifecycle.session && !this.resetting) this.#transport.configInterrupt()
    }
  }

  /** Bits of the status field; not 0 until a reset is done. */
  get status(): number {
    return this.#status
  }

  /** Negotiated features; empty before FEATURES_OK. */
  get negotiated(): bigint {
    return (this.#status & Status.FEATURES_OK) !== 0 ? this.#accepted : 0n
  }

  /** True during a reset: writes are ignored until the status reads 0. @virtio 4.1.4.3.2 */
  get resetting(): boolean {
    return this.#resetting !== undefined
  }

  /** 32 of the offered feature bits, from bit 32 * `word` on; 0 past the last. */
  offeredFeatures(word: number): number {
    return featureWord(this.#transport.memory.bounce ? bounceFeatures(this.offered) : this.offered, word)
  }

  /** 32 of the feature bits the driver accepted. */
  acceptedFeatures(word: number): number {
    return featureWord(this.#accepted, word)
  }

  /** The driver accepts these 32 bits. Ignored once FEATURES_OK is set. @virtio 3.1.1 */
  acceptFeatures(word: number, bits: number): void {
    if (this.resetting || (this.#status & Status.FEATURES_OK) !== 0 || word > 3) return
    const shift = BigInt(word * 32)
    this.#accepted = (this.#accepted & ~(0xffff_ffffn << shift)) | (BigInt(bits >>> 0) << shift)
  }

  /**
   * 0 resets. Any other value sets the bits it has and clears none: FEATURES_OK only if the device can work with what the
   * driver accepted, DRIVER_OK only after that, and never once the driver set FAILED.
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
      const refusal = this.#featureRefusal(this.#accepted)
      if (refusal === undefined) {
        this.#status |= Status.FEATURES_OK
        this.#lifecycle.negotiate(this.#accepted)
      } else {
        this.#lifecycle.guard.log(`FEATURES_OK refused: ${refusal}`)
      }
    }
    if (
      (set & Status.DRIVER_OK) !== 0 &&
      (this.#status & (Status.FEATURES_OK | Status.FAILED)) === Status.FEATURES_OK
    ) {
      this.#status |= Status.DRIVER_OK
      this.#start()
    }
  }

  /** Keeps the device from starting requests while `held`; what is in flight completes. Requests wait, and none is lost. */
  hold(held: boolean): void {
    this.#lifecycle.hold(held)
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
  }

  /**
   * Suspends the device, so that it can be saved or restored. Requests wait, and none is lost.
   * @returns a wait until nothing is in flight; undefined if nothing is
   */
  suspend(): void | Pending {
    return this.#delivered(after(this.#resetting, () => this.#lifecycle.suspendAll()))
  }

  /** Ends a suspension. After `restore`, the driver is interrupted if the configuration space differs from the saved one. */
  resume(): void {
    this.#lifecycle.resumeAll()
    if (this.#lifecycle.session && this.#device.config.changed) this.#transport.configInterrupt()
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
  }

  /** Returns the state of the suspended device. @throws {SnapshotError} if the device cannot be saved */
  save(): SavedState {
    const { config } = this.#device
    if (!this.#lifecycle.suspended || this.resetting) throw new SnapshotError(`${this.#device.name} is not suspended`)
    return stateOf(this.#device).write({
      status: this.#status,
      accepted: this.#accepted,
      lifecycle: this.#lifecycle.save(),
      config: { bytes: config.copy(), generation: config.generation, changed: config.changed },
      queues: this.queues.map((queue) => queue.save()),
    })
  }

  /**
   * Takes the saved state of another device, while suspended. Memory must hold what it held when the state was saved.
   * @throws {SnapshotError} if the state is not valid; the device is then as it was, or as after a reset
   */
  restore(state: SavedState): void {
    if (!this.#lifecycle.suspended || this.resetting) throw new SnapshotError(`${this.#device.name} is not suspended`)
    const saved = stateOf(this.#device).read(state)
    const refusal = this.#stateRefusal(saved)
    if (refusal !== undefined) throw new SnapshotError(`${this.#device.name}: ${refusal}`)
    for (const queue of this.queues) queue.reset()
    this.#status = 0
    this.#accepted = 0n
    this.#lifecycle.restore(saved.lifecycle)
    this.#status = saved.status
    this.#accepted = saved.accepted
    for (let i = 0; i < this.queues.length; i++) this.queues[i].restore(saved.queues[i])
    if ((saved.status & Status.DRIVER_OK) !== 0) this.#begin()
    const { bytes, generation, changed } = saved.config
    this.#device.config.continue(bytes, generation, changed)
  }

  /**
   * The memory map changed. Queues whose rings moved continue at their position, and those whose rings were removed wait
   * until they return. If memory was `removed`, requests in flight complete first, in memory as it was.
   */
  memoryChanged(removed: boolean): void | Pending {
    // Not the whole reset: bounce memory accepts no writes while the client waits for this.
    if (this.#resetting) return this.#stopping
    if (!this.#lifecycle.session) return
    const { memory } = this.#transport
    const affected = this.queues.filter(
      (queue) => queue.live && (queue.displaced(memory) || (removed && queue.live.position.inFlight > 0)),
    )
    const stopped = affected.map((queue) => {
      const { live } = queue
      return after(this.#lifecycle.stop(this.queues.indexOf(queue)), () => {
        // The queue may have been reset meanwhile.
        if (queue.live === live && !queue.resetting && !this.resetting) this.#resume(queue)
      })
    })
    return after(all(stopped), () => this.#reopen())
  }

  /** Returns the queue if the driver may set its size and addresses: it exists, is not enabled, and no reset is going on. */
  configurableQueue(index: number): QueueState | undefined {
    const queue = this.queues[index]
    return !queue || queue.enabled || queue.resetting || this.resetting ? undefined : queue
  }

  /** Enables a queue. After DRIVER_OK this needs RING_RESET. @virtio 2.6.1.2 */
  enableQueue(index: number): void {
    const queue = this.configurableQueue(index)
    const { session } = this.#lifecycle
    if (!queue || (session && !hasFeature(this.negotiated, Feature.RING_RESET))) return
    queue.enabled = true
    if (session) this.#openQueue(index)
  }

  /** Takes one queue from the device; `resetting` is set until nothing of it is in flight. @virtio 2.6.1.1 */
  resetQueue(index: number): void {
    const queue = this.queues[index]
    if (!queue || queue.resetting || this.resetting || !hasFeature(this.negotiated, Feature.RING_RESET)) return
    const { live } = queue
    if (!live) {
      this.#finishQueueReset(index)
      return
    }
    queue.resetting = true
    queue.shadowRing?.close()
    after(this.#delivered(this.#lifecycle.stop(index)), () => {
      // A reset of the device may have ended this one, and the driver may have enabled the queue again.
      if (queue.resetting && queue.live === live) this.#finishQueueReset(index)
    })
  }

  /** Makes pushed chains of all queues visible. */
  publish(): void {
    this.#lifecycle.publish()
  }

  /** Serves what the driver made available without a notification. @returns true if there was anything */
  poll(): boolean {
    // A shadow ring changes only when the device fetches it.
    return this.#transport.memory.bounce ? false : this.#lifecycle.poll()
  }

  /** Has the driver notify again. */
  stopPolling(): void {
    if (!this.#transport.memory.bounce) this.#lifecycle.stopPolling()
  }

  /** The driver made chains available. Without effect before DRIVER_OK and for a queue that is not enabled. */
  notify(index: number): void {
    const queue = this.queues[index]
    if (queue?.stoppedAt) this.#lifecycle.guard.log(`queue ${index} was notified while its ring is not in memory`)
    if (queue?.shadowRing && queue.live?.open) queue.shadowRing.fetchAvailable()
    else this.#lifecycle.notify(index)
  }

  /** @virtio 2.5, 4.1.4.3.1 */
  get configGeneration(): number {
    return this.#device.config.generation
  }

  readConfig(offset: number, width: number): number {
    return this.#device.config.read(offset, width)
  }

  writeConfig(offset: number, width: number, value: number): void {
    if (this.resetting) return
    this.#lifecycle.guard.call('config', () => this.#device.config.write(offset, width, value))
  }

  /**
   * Returns to the state before any driver: at once if nothing is in flight, else when the device is done. A reset during a
   * reset is the same reset. @virtio 2.4
   */
  reset(): void | Pending {
    if (this.#resetting) return this.#resetting
    for (const queue of this.queues) queue.shadowRing?.close()
    const stopping = this.#lifecycle.stopAll()
    const wait = this.#delivered(stopping)
    const reset = new Pending()
    // Set before the wait, which may end within the call.
    if (wait) {
      this.#resetting = reset
      this.#stopping = stopping || undefined
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

  /** Waits, and then until bounce memory has written everything to the guest. */
  #delivered(wait: void | Pending): void | Pending {
    const { bounce } = this.#transport.memory
    return bounce && this.#lifecycle.session ? after(wait, () => bounce.flushed()) : wait
  }

  #finishReset(): void {
    // Late completions reach no queue and no driver.
    for (const queue of this.queues) queue.reset()
    this.#lifecycle.forget()
    this.#resetting = undefined
    this.#stopping = undefined
    this.#status = 0
    this.#accepted = 0n
    this.#transport.deviceReset()
  }

  #finishQueueReset(index: number): void {
    this.#lifecycle.close(index)
    this.queues[index].reset()
    this.#transport.queueReset(index)
  }

  /** Returns the reason why a saved state cannot be one of this device; undefined if it can. */
  #stateRefusal({ status, accepted, lifecycle }: SavedDevice): string | undefined {
    const { FEATURES_OK, DRIVER_OK, DEVICE_NEEDS_RESET } = Status
    if ((status & ~(DRIVER_STATUS | DEVICE_NEEDS_RESET)) !== 0) return `status ${status} has unknown bits`
    if ((status & (FEATURES_OK | DRIVER_OK)) === DRIVER_OK) return `status ${status} has DRIVER_OK without FEATURES_OK`
    if ((status & DEVICE_NEEDS_RESET) === 0 && lifecycle.failure !== null) return `status ${status} hides a failure`
    const negotiated = (status & FEATURES_OK) === 0 ? null : accepted
    if (lifecycle.features !== negotiated) return 'the negotiated features are not those that the driver accepted'
    return negotiated === null ? undefined : this.#featureRefusal(accepted)
  }

  #featureRefusal(accepted: bigint): string | undefined {
    const refusal = featureRefusal(this.#device, accepted)
    return refusal ?? (this.#transport.memory.bounce && bounceRefusal(this.#device, accepted))
  }

  #start(): void {
    const lifecycle = this.#lifecycle
    const failed = lifecycle.failure !== undefined
    if (!this.#begin()) return
    // The driver could not be interrupted before for a change of the configuration space, or a failure.
    if (this.#device.config.changed || failed) this.#transport.configInterrupt()
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
  }

  /** Creates the enabled queues and starts the device. @returns false if the driver reset the device meanwhile */
  #begin(): boolean {
    const lifecycle = this.#lifecycle
    const session = lifecycle.begin()
    for (let i = 0; i < this.queues.length; i++) {
      if (this.queues[i].enabled) this.#createQueue(i)
      // A broken queue interrupts the driver, which may reset the device within the call.
      if (lifecycle.session !== session) return false
    }
    lifecycle.start()
    return true
  }

  #openQueue(index: number): void {
    this.#createQueue(index)
    this.notify(index)
  }

  #createQueue(index: number): void {
    const state = this.queues[index]
    const { memory } = this.#transport
    const { bounce } = memory
    const interrupt = () => this.#transport.queueInterrupt(index)
    const opening = {
      size: state.size,
      descriptorArea: state.address(QueueArea.DESCRIPTOR),
      driverArea: state.address(QueueArea.DRIVER),
      deviceArea: state.address(QueueArea.DEVICE),
      start: state.begin(memory),
      interrupt: bounce ? () => bounce.afterFlush(interrupt) : interrupt,
    }
    state.live = this.#lifecycle.open(index, opening)
    if (state.live && bounce) this.#openShadowRing(state, index, opening, bounce)
  }

  #openShadowRing(state: QueueState, index: number, opening: QueueOpening, bounce: BounceMemory): void {
    const broken = (reason: string): void => this.#lifecycle.fail(`queue ${index}: ${reason}`)
    const refusal = bounceRefusal(this.#device, this.#accepted)
    if (refusal !== undefined) {
      broken(refusal)
      return
    }
    if (state.live) state.live.polled = true
    const setup = {
      ...opening,
      ...ringFeatures(this.#accepted),
      index,
      memory: this.#transport.memory,
      onBroken: broken,
    }
    state.shadowRing = new ShadowRing(setup, bounce, { ready: () => this.#lifecycle.notify(index), broken })
  }

  /** Nothing of a stopped queue is in flight: it continues, or waits for its memory. */
  #resume(queue: QueueState): void {
    const index = this.queues.indexOf(queue)
    if (!queue.displaced(this.#transport.memory)) {
      this.#lifecycle.resume(index)
      this.notify(index)
      return
    }
    queue.suspend()
    this.#lifecycle.close(index)
  }

  /** Opens the queues whose memory returned. */
  #reopen(): void {
    const { memory } = this.#transport
    const returned = [...this.queues.keys()].filter((i) => {
      return !this.resetting && !this.queues[i].resetting && this.queues[i].returned(memory)
    })
    // All before any is served: a device may move work from a queue that is closed to another one.
    for (const i of returned) this.#createQueue(i)
    for (const i of returned) this.notify(i)
  }

  /** One interrupt for the driver. @virtio 2.1.2 */
  #failed(): void {
    this.#status |= Status.DEVICE_NEEDS_RESET
    if ((this.#status & Status.DRIVER_OK) !== 0) this.#transport.configInterrupt()
  }
}

function featureWord(set: bigint, word: number): number {
  return word > 3 ? 0 : Number((set >> BigInt(word * 32)) & 0xffff_ffffn)
}
