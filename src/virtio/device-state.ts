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
import { distantFeatures, distantRefusal, featureRefusal, offeredFeatures, ringFeatures } from './negotiation.ts'
import { QueueArea, QueueState } from './queue-state.ts'
import { Session } from './session.ts'
import { DRIVER_STATUS, Status } from './status.ts'

/** What the state of a device needs from the transport that carries it. */
export interface DeviceTransport {
  readonly memory: GuestMemory
  /** The driver is to look at a queue. */
  queueInterrupt(queue: number): void
  /** The driver is to look at the configuration space and the status. */
  configInterrupt(): void
  /** A queue was reset: what the transport keeps for it starts over. */
  queueReset(queue: number): void
  /** The device was reset: what the transport keeps for the driver starts over. */
  deviceReset(): void
  log(line: string): void
}

/**
 * What a virtio device is to its driver whatever the transport: status, features, queues, reset. @virtio 2, 3
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
 * Nothing here throws, whatever driver and device do: a device's mistake is caught here, and the driver is told that
 * the device needs a reset.
 */
export class DeviceState {
  readonly offered: bigint
  readonly queues: readonly QueueState[]
  readonly #device: VirtioDevice
  readonly #transport: DeviceTransport
  #status = 0
  #accepted = 0n
  #session: Session | undefined
  /** The reset that is going on. */
  #resetting: Pending | undefined
  /** What that reset waits for first: the requests in flight. */
  #quiescing: Pending | undefined
  #held = false
  /** The guest's memory changed, and the queues are not yet where they are to be. */
  #moving = false
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

  /** Bits of the status field; not 0 until a reset is done. */
  get status(): number {
    return this.#status
  }

  /** What driver and device agreed on: nothing before FEATURES_OK. */
  get negotiated(): bigint {
    return (this.#status & Status.FEATURES_OK) !== 0 ? this.#accepted : 0n
  }

  /** A reset is going on: writes are ignored until the status reads 0. @virtio 4.1.4.3.2 */
  get resetting(): boolean {
    return this.#resetting !== undefined
  }

  /** 32 of the offered feature bits, from bit 32 * `word` on; 0 past the last. */
  offeredFeatures(word: number): number {
    return featureWord(this.#transport.memory.remote ? distantFeatures(this.offered) : this.offered, word)
  }

  /** 32 of the feature bits the driver accepted. */
  acceptedFeatures(word: number): number {
    return featureWord(this.#accepted, word)
  }

  /** The driver accepts these 32 bits. Agreed is agreed: ignored once FEATURES_OK is set. @virtio 3.1.1 */
  acceptFeatures(word: number, bits: number): void {
    if (this.resetting || (this.#status & Status.FEATURES_OK) !== 0 || word > 3) return
    const shift = BigInt(word * 32)
    this.#accepted = (this.#accepted & ~(0xffff_ffffn << shift)) | (BigInt(bits >>> 0) << shift)
  }

  /**
   * 0 resets. Any other value sets the bits it has and clears none: FEATURES_OK only where the device can work with
   * what the driver accepted, DRIVER_OK only after that, and never once the driver gave up.
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
        (this.#transport.memory.remote && distantRefusal(this.#device, this.#accepted))
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

  /** Keeps the device from starting requests, or lets it; what is in flight is finished. They wait, and none is lost. */
  hold(held: boolean): void {
    if (held === this.#held) return
    this.#held = held
    this.#updateGates()
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
  }

  /**
   * The guest's memory is other than it was. What is in flight is finished if any is gone, in memory as it was; queues
   * whose rings moved go on where they stood, and those whose rings are gone wait for them to come back.
   */
  memoryChanged(gone: boolean): void | Pending {
    // Not for the whole reset: the driver's memory, where that is elsewhere, takes nothing while the client waits for us.
    if (this.#resetting) return this.#quiescing
    const session = this.#session
    const { memory } = this.#transport
    const concerned = (queue: QueueState) =>
      queue.displaced(memory) || queue.returned(memory) || (gone && (queue.live?.position.inFlight ?? 0) > 0)
    if (!session || !this.queues.some(concerned)) return
    this.#moving = true
    this.#updateGates()
    return after(
      this.#guard.wait('quiesce', () => this.#device.quiesce()),
      () => this.#settleQueues(session),
    )
  }

  /** The queue, where the driver may set its size and addresses: it exists, is not enabled, and no reset is going on. */
  configurableQueue(index: number): QueueState | undefined {
    const queue = this.queues[index]
    return !queue || queue.enabled || queue.resetting || this.resetting ? undefined : queue
  }

  /** After DRIVER_OK only a device that can reset queues can be given another one. @virtio 2.6.1.2 */
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

  /** Takes one queue from the device; `resetting` is set until it is gone. @virtio 2.6.1.1 */
  resetQueue(index: number): void {
    const queue = this.queues[index]
    if (!queue || queue.resetting || this.resetting || !hasFeature(this.negotiated, Feature.RING_RESET)) return
    const { live } = queue
    const session = this.#session
    const done = () => {
      // The device may have been reset, and the queue made anew, before it gave up the old one.
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
    queue.distant?.close()
    after(this.#delivered(this.#guard.wait('resetQueue', () => this.#device.resetQueue?.(index))), done)
  }

  /** Makes visible what was used, for devices that leave that to a microtask, where none runs before a thread sleeps. */
  publish(): void {
    for (const { live } of this.queues) live?.publish()
  }

  /** Serves what the driver made available without being told. @returns whether there was something */
  poll(): boolean {
    let found = false
    for (let index = 0; index < this.queues.length; index++) {
      const { live, distant } = this.queues[index]
      // A ring that is elsewhere is not to be looked at.
      if (!live?.open || distant) continue
      live.polled = true
      if (!live.hasWork()) continue
      this.#serve(index)
      found = true
    }
    return found
  }

  /** Nobody polls any more. */
  stopPolling(): void {
    for (let index = 0; index < this.queues.length; index++) {
      const { live, distant } = this.queues[index]
      if (!live?.polled || distant) continue
      live.polled = false
      this.#serve(index)
    }
  }

  /** The driver made chains available. Before DRIVER_OK, or for a queue that is not there, it says nothing. */
  notify(index: number): void {
    const queue = this.queues[index]
    if (queue?.stoppedAt) this.#guard.log(`queue ${index} is notified of, and its ring is not in memory`)
    if (queue?.distant && queue.live?.open) queue.distant.look()
    else this.#serve(index)
  }

  #serve(index: number): void {
    if (!this.queues[index]?.live?.open) return
    try {
      this.#device.notify(index)
    } catch (error) {
      this.#guard.mistake('notify', error)
    }
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
    this.#guard.call('config', () => this.#device.config.write(offset, width, value))
  }

  /**
   * Back to the state before any driver: at once where nothing is in flight, else when the device is done. A reset
   * during a reset is the same reset. @virtio 2.4
   */
  reset(): void | Pending {
    if (this.#resetting) return this.#resetting
    if (!this.#session) {
      this.#finishReset()
      return
    }
    for (const queue of this.queues) {
      if (queue.live) queue.live.open = false
      queue.distant?.close()
    }
    const quiescing = this.#guard.wait('quiesce', () => this.#device.quiesce())
    const wait = this.#delivered(quiescing)
    const reset = new Pending()
    // Set before the wait, which may end within the call.
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

  /** Waits, and then until the driver's memory, where that is elsewhere, has what was written to it. */
  #delivered(wait: void | Pending): void | Pending {
    const { remote } = this.#transport.memory
    return remote ? after(wait, () => remote.settled()) : wait
  }

  #finishReset(): void {
    // From here on a completion that comes late reaches no queue and no driver.
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
    // A broken queue interrupts the driver, and nobody says that it does not reset the device right then.
    if (session !== this.#session) return
    this.#updateGates()
    this.#guard.call('activate', () => this.#device.activate(session))
    // What nobody could be told before: a change since the driver read the space, or a failure.
    if (this.#device.config.changed || failed) this.#transport.configInterrupt()
    for (let i = 0; i < this.queues.length; i++) this.notify(i)
  }

  #openQueue(session: Session, index: number): void {
    const state = this.queues[index]
    const { remote } = session.memory
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
        interrupt: remote ? () => remote.after(interrupt) : interrupt,
        onBroken: (reason) => session.needsReset(`queue ${index}: ${reason}`),
      }),
    )
    const queue = setup && this.#guard.call('queue', () => createDeviceQueue(setup))
    if (!queue || session !== this.#session) return
    state.live = new GatedQueue(queue)
    if (remote) this.#openDistant(state, setup, remote)
    session.queues[index] = state.live
  }

  #openDistant(state: QueueState, setup: QueueSetup, remote: BounceMemory): void {
    const refusal = distantRefusal(this.#device, this.#accepted)
    if (refusal !== undefined) {
      setup.onBroken(refusal)
      return
    }
    if (state.live) state.live.polled = true
    state.distant = new ShadowRing(setup, remote, {
      ready: () => this.#serve(setup.index),
      broken: setup.onBroken,
    })
  }

  /** Nothing is in flight: queues go where their rings are now. */
  #settleQueues(session: Session): void {
    this.#moving = false
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
      this.#session !== undefined && !this.#held && !this.#moving && (this.#status & Status.DEVICE_NEEDS_RESET) === 0
    for (const queue of this.queues) if (queue.live) queue.live.open = open && !queue.resetting && !this.resetting
  }

  /** The device cannot go on. One line for people, one interrupt for the driver. @virtio 2.1.2 */
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
