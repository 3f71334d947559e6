import { GuestMemory } from '../../memory/guest-memory.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { GuestAllocator, PackedDriver, type QueueDriver, SplitDriver } from '../../virtqueue/driver/index.ts'
import { DeviceState } from '../device-state.ts'
import { Feature, featureSet, hasFeature } from '../feature.ts'
import { QueueArea } from '../queue-state.ts'
import { Status } from '../status.ts'
import { EchoClient } from './echo-client.ts'
import { EchoDevice } from './echo-device.ts'

export const VERSION_1 = featureSet(Feature.VERSION_1)

/**
 * State of an echo device, with a driver and a transport that records its notifications.
 *
 *     const rig = new StateRig()
 *     rig.start()
 *     rig.echo(0, [1, 2])      // 1, 2
 */
export class StateRig {
  readonly device: EchoDevice
  readonly state: DeviceState
  readonly region = MemoryRegion.over(0, new Uint8Array(1 << 20))
  readonly memory = new GuestMemory([this.region])
  readonly queues: QueueDriver[] = []
  /** Calls of the transport, in order. */
  readonly notifications: string[] = []
  readonly logged: string[] = []
  /** Called at each configuration interrupt. */
  onConfigInterrupt: (() => void) | undefined
  readonly #allocator = new GuestAllocator(this.region, 4096)
  readonly #client = new EchoClient(this.#allocator, this.queues, (queue) => this.state.notify(queue))

  constructor(device = new EchoDevice()) {
    this.device = device
    this.state = new DeviceState(device, {
      memory: this.memory,
      queueInterrupt: (queue) => this.notifications.push(`queue ${queue}`),
      configInterrupt: () => {
        this.notifications.push('config')
        this.onConfigInterrupt?.()
      },
      queueReset: (queue) => this.notifications.push(`queue ${queue} reset`),
      deviceReset: () => this.notifications.push('device reset'),
      batchEnds: queueMicrotask,
      log: (line) => this.logged.push(line),
    })
  }

  /** Sets status bits in addition to those already set. @returns the new status */
  setStatus(bits: number): number {
    this.state.writeStatus(this.state.status | bits)
    return this.state.status
  }

  accept(features: bigint): void {
    for (let word = 0; word < 4; word++) {
      this.state.acceptFeatures(word, Number((features >> BigInt(32 * word)) & 0xffff_ffffn))
    }
  }

  /** Negotiates up to FEATURES_OK. @returns whether the device accepted the features */
  negotiate(features: bigint): boolean {
    this.setStatus(Status.ACKNOWLEDGE)
    this.setStatus(Status.DRIVER)
    this.accept(features)
    return (this.setStatus(Status.FEATURES_OK) & Status.FEATURES_OK) !== 0
  }

  /** Creates a queue of the configured size and enables it. */
  setUpQueue(index: number): void {
    const { negotiated } = this.state
    const Driver = hasFeature(negotiated, Feature.RING_PACKED) ? PackedDriver : SplitDriver
    const queue = new Driver(this.#allocator, {
      size: this.state.queues[index].size,
      eventIdx: hasFeature(negotiated, Feature.EVENT_IDX),
      inOrder: hasFeature(negotiated, Feature.IN_ORDER),
    })
    const { descriptorArea, driverArea, deviceArea } = queue.addresses
    const words = this.state.configurableQueue(index)?.addressWords
    words?.set([descriptorArea], QueueArea.DESCRIPTOR)
    words?.set([driverArea], QueueArea.DRIVER)
    words?.set([deviceArea], QueueArea.DEVICE)
    this.state.enableQueue(index)
    this.queues[index] = queue
  }

  /** Performs all steps from reset to DRIVER_OK, with all queues. @param features in addition to VERSION_1 */
  start(features = 0n): void {
    if (!this.negotiate(features | VERSION_1)) throw new Error('features refused')
    for (let index = 0; index < this.state.queues.length; index++) this.setUpQueue(index)
    this.setStatus(Status.DRIVER_OK)
  }

  /** @see EchoClient.send */
  send(queue: number, bytes: readonly number[]): number {
    return this.#client.send(queue, bytes)
  }

  /** @see EchoClient.echo */
  echo(queue: number, bytes: readonly number[]): number[] | undefined {
    return this.#client.echo(queue, bytes)
  }
}
