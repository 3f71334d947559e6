import { GuestMemory } from '../../memory/guest-memory.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { all, promiseOf } from '../../pending/pending.ts'
import { type Bytes, GuestAllocator, QueueRig, type Reply, type Request } from '../../virtqueue/driver/index.ts'
import type { Layout } from '../../virtqueue/driver/queue-driver.ts'
import type { DriverSession, VirtioDevice } from '../device.ts'
import { Feature, featureSet, hasFeature } from '../feature.ts'

export interface DeviceRigOptions {
  /** Feature bits that the driver accepts. @default those of the device, VERSION_1 and INDIRECT_DESC */
  readonly features?: bigint
  /** Size of every queue. @default the device's `queueSizes` */
  readonly queueSize?: number
  /** Indices of queues that the driver does not enable. @default none */
  readonly disabled?: readonly number[]
  /** Bytes of guest memory. @default 16 MiB */
  readonly memorySize?: number
  /**
   * Guest memory at address 0, for example shared with other processes.
   * @default private memory of `memorySize` bytes
   */
  readonly memory?: MemoryRegion
}

/**
 * Device after DRIVER_OK, with a driver for all its queues.
 *
 *     const rig = activateDevice(new EntropyDevice(source))
 *     const reply = rig.send(0, [], [16])               // if the device replies within `notify`
 *     const later = await rig.request(0, [], [16])      // if it may reply later
 *     rig.rigs[0].add([], [64])                         // not visible before rig.kick(0)
 *     await rig.reset()
 */
export class DeviceRig implements DriverSession {
  readonly memory: GuestMemory
  readonly allocator: GuestAllocator
  readonly features: bigint
  /** Both sides of each queue, including queues that the driver did not enable. */
  readonly rigs: readonly QueueRig[]
  readonly queues: (QueueRig['queue'] | undefined)[]
  /** Reasons for which the device called `needsReset`. */
  readonly failures: string[] = []
  /** Number of configuration changes by the device. */
  configChanges = 0
  readonly #device: VirtioDevice
  #publishDue = false

  constructor(device: VirtioDevice, options: DeviceRigOptions = {}) {
    this.#device = device
    this.features = options.features ?? device.features | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
    const region = options.memory ?? MemoryRegion.over(0, new Uint8Array(options.memorySize ?? 16 << 20))
    this.memory = new GuestMemory([region])
    this.allocator = new GuestAllocator(region, 4096)
    this.rigs = device.queueSizes.map(
      (size, index) =>
        new QueueRig({
          index,
          size: options.queueSize ?? size,
          packed: hasFeature(this.features, Feature.RING_PACKED),
          eventIdx: hasFeature(this.features, Feature.EVENT_IDX),
          inOrder: hasFeature(this.features, Feature.IN_ORDER),
          indirect: hasFeature(this.features, Feature.INDIRECT_DESC),
          memory: this.memory,
          allocator: this.allocator,
        }),
    )
    this.queues = this.rigs.map((rig, index) => (options.disabled?.includes(index) ? undefined : rig.queue))
    device.config.onChange = () => {
      this.configChanges++
    }
    device.negotiated?.(this.features)
    device.start(this)
    for (let index = 0; index < this.rigs.length; index++) if (this.queues[index]) device.notify(index)
  }

  publishSoon(): void {
    if (this.#publishDue) return
    this.#publishDue = true
    queueMicrotask(() => {
      this.#publishDue = false
      for (const { queue } of this.rigs) queue.publish()
    })
  }

  window(): undefined {}

  needsReset(reason: string): void {
    this.failures.push(reason)
  }

  /** Sends a request to a device that replies within `notify`. @returns the reply */
  send(queue: number, readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Reply {
    return this.rigs[queue].send(() => this.#device.notify(queue), readable, writable, layout)
  }

  /** Sends a request. Its `reply` is set after the device's interrupt. */
  submit(queue: number, readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Request {
    return this.rigs[queue].submit(() => this.#device.notify(queue), readable, writable, layout)
  }

  /** Sends a request. @returns a promise of the reply */
  request(
    queue: number,
    readable: readonly Bytes[],
    writable: readonly number[] = [],
    layout?: Layout,
  ): Promise<Reply> {
    return this.submit(queue, readable, writable, layout).replied
  }

  /** Makes requests added to a queue visible, and notifies the device if it wants that. */
  kick(queue: number): void {
    this.rigs[queue].kick(() => this.#device.notify(queue))
  }

  /** Resets the device as a transport does when the driver writes 0 to the status. @virtio 2.4 */
  async reset(): Promise<void> {
    for (const { queue } of this.rigs) queue.open = false
    await promiseOf(all(this.rigs.map((_, index) => this.queues[index] && this.#device.stopQueue(index))))
    for (const { queue } of this.rigs) queue.detach()
    this.#device.reset()
    this.#device.config.onChange = undefined
  }
}

/** Acts as the driver of a device up to DRIVER_OK. @returns a rig to send requests with */
export function activateDevice(device: VirtioDevice, options?: DeviceRigOptions): DeviceRig {
  return new DeviceRig(device, options)
}
