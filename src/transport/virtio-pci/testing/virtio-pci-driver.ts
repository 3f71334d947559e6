import type { PciFunction } from '../../../pci/pci-function.ts'
import { Feature, featureSet, hasFeature } from '../../../virtio/feature.ts'
import { Status } from '../../../virtio/status.ts'
import { type GuestAllocator, PackedDriver, type QueueDriver, SplitDriver } from '../../../virtqueue/driver/index.ts'

/** Offset and width of each field of the common configuration structure, in bytes. @virtio 4.1.4.3 */
export const CommonField = {
  device_feature_select: [0, 4],
  device_feature: [4, 4],
  driver_feature_select: [8, 4],
  driver_feature: [12, 4],
  config_msix_vector: [16, 2],
  num_queues: [18, 2],
  device_status: [20, 1],
  config_generation: [21, 1],
  queue_select: [22, 2],
  queue_size: [24, 2],
  queue_msix_vector: [26, 2],
  queue_enable: [28, 2],
  queue_notify_off: [30, 2],
  queue_desc_lo: [32, 4],
  queue_desc_hi: [36, 4],
  queue_driver_lo: [40, 4],
  queue_driver_hi: [44, 4],
  queue_device_lo: [48, 4],
  queue_device_hi: [52, 4],
  queue_notif_config_data: [56, 2],
  queue_reset: [58, 2],
  admin_queue_index: [60, 2],
  admin_queue_num: [62, 2],
} as const
export type CommonField = keyof typeof CommonField

/** Capability that was found in the capability list. */
export interface FoundCapability {
  /** Offset in the configuration space. */
  readonly at: number
  readonly id: number
  /** Type (`cfg_type`). This and the fields below are valid for vendor capabilities only. */
  readonly type: number
  readonly bar: number
  readonly regionId: number
  readonly offset: number
  readonly length: number
}

const COMMON_CFG = 1
const NOTIFY_CFG = 2
const ISR_CFG = 3
const DEVICE_CFG = 4
const FIRST_BAR_ADDRESS = 0xe000_0000

/**
 * Driver of a virtio PCI function: finds its capabilities, assigns BAR addresses, negotiates and sets up queues.
 *
 *     const driver = new VirtioPciDriver(pci, new GuestAllocator(region, 4096))
 *     driver.enable()
 *     await driver.start(featureSet(Feature.RING_PACKED))
 *     const queue = driver.queues[0]
 *     queue.add([], [{ address, length: 16 }])
 *     if (queue.kick()) driver.notify(0)
 *     if (driver.isr() & 1) queue.collect()
 */
export class VirtioPciDriver {
  readonly capabilities: readonly FoundCapability[]
  /** The driver's side of each queue that was set up. */
  readonly queues: QueueDriver[] = []
  features = 0n
  readonly #notifyMultiplier: number

  constructor(
    readonly pci: PciFunction,
    private readonly allocator: GuestAllocator,
  ) {
    this.capabilities = this.#walk()
    this.#notifyMultiplier = pci.configRead(this.capability(NOTIFY_CFG).at + 16, 4)
  }

  /** Returns the first capability of a type. @throws {Error} if there is none */
  capability(type: number): FoundCapability {
    const found = this.capabilities.find((capability) => capability.type === type)
    if (!found) throw new Error(`the function has no virtio capability of type ${type}`)
    return found
  }

  /** Assigns addresses to all BARs, and enables memory decoding and bus mastering. */
  enable(): void {
    let next = FIRST_BAR_ADDRESS
    this.pci.bars.forEach((bar, index) => {
      if (!bar) return
      const address = Math.ceil(next / bar.size) * bar.size
      next = address + bar.size
      this.pci.configWrite(0x10 + 4 * index, 4, address)
      if (bar.kind === 'memory64') this.pci.configWrite(0x14 + 4 * index, 4, Math.floor(address / 2 ** 32))
    })
    this.pci.configWrite(4, 2, 6)
  }

  /** Reads from a BAR. @returns all ones if it does not exist */
  readBar(bar: number, offset: number, width: number): number {
    return this.pci.bars[bar]?.device.read(offset, width) ?? 2 ** (8 * width) - 1
  }

  writeBar(bar: number, offset: number, width: number, value: number): void {
    this.pci.bars[bar]?.device.write(offset, width, value)
  }

  get(field: CommonField): number {
    const [offset, width] = CommonField[field]
    const { bar, offset: start } = this.capability(COMMON_CFG)
    return this.readBar(bar, start + offset, width)
  }

  set(field: CommonField, value: number): void {
    const [offset, width] = CommonField[field]
    const { bar, offset: start } = this.capability(COMMON_CFG)
    this.writeBar(bar, start + offset, width, value)
  }

  readConfig(offset: number, width: number): number {
    const { bar, offset: start } = this.capability(DEVICE_CFG)
    return this.readBar(bar, start + offset, width)
  }

  writeConfig(offset: number, width: number, value: number): void {
    const { bar, offset: start } = this.capability(DEVICE_CFG)
    this.writeBar(bar, start + offset, width, value)
  }

  /** Reads the ISR status, which clears it. */
  isr(): number {
    const { bar, offset } = this.capability(ISR_CFG)
    return this.readBar(bar, offset, 1)
  }

  notify(queue: number): void {
    this.set('queue_select', queue)
    const { bar, offset } = this.capability(NOTIFY_CFG)
    this.writeBar(bar, offset + this.get('queue_notify_off') * this.#notifyMultiplier, 2, queue)
  }

  /** Writes 0 to the status and waits until it reads 0. */
  async reset(): Promise<void> {
    this.set('device_status', 0)
    for (let i = 0; this.get('device_status') !== 0; i++) {
      if (i === 1000) throw new Error('the device did not complete its reset within 1 s')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  /** Reads the offered feature bits. */
  offered(): bigint {
    let set = 0n
    for (let word = 0; word < 4; word++) {
      this.set('device_feature_select', word)
      set |= BigInt(this.get('device_feature')) << BigInt(32 * word)
    }
    return set
  }

  /** Performs all steps from reset to FEATURES_OK. @returns whether the device accepted the features. @virtio 3.1.1 */
  async negotiate(features: bigint): Promise<boolean> {
    await this.reset()
    this.set('device_status', Status.ACKNOWLEDGE)
    this.set('device_status', Status.ACKNOWLEDGE | Status.DRIVER)
    for (let word = 0; word < 4; word++) {
      this.set('driver_feature_select', word)
      this.set('driver_feature', Number((features >> BigInt(32 * word)) & 0xffff_ffffn))
    }
    this.features = features
    this.set('device_status', this.get('device_status') | Status.FEATURES_OK)
    return (this.get('device_status') & Status.FEATURES_OK) !== 0
  }

  /**
   * Creates one queue and enables it.
   * @param size number of descriptors; default: the device's maximum
   * @param vector MSI-X vector; default: none
   */
  setUpQueue(index: number, size = 0, vector = 0xffff): QueueDriver {
    this.set('queue_select', index)
    if (size !== 0) this.set('queue_size', size)
    const Driver = hasFeature(this.features, Feature.RING_PACKED) ? PackedDriver : SplitDriver
    const queue = new Driver(this.allocator, {
      size: this.get('queue_size'),
      eventIdx: hasFeature(this.features, Feature.EVENT_IDX),
      inOrder: hasFeature(this.features, Feature.IN_ORDER),
    })
    const { descriptorArea, driverArea, deviceArea } = queue.addresses
    this.set('queue_msix_vector', vector)
    this.set('queue_desc_lo', descriptorArea)
    this.set('queue_desc_hi', 0)
    this.set('queue_driver_lo', driverArea)
    this.set('queue_driver_hi', 0)
    this.set('queue_device_lo', deviceArea)
    this.set('queue_device_hi', 0)
    this.set('queue_enable', 1)
    this.queues[index] = queue
    return queue
  }

  /** Performs all steps from reset to DRIVER_OK, with all queues. @param features in addition to VERSION_1 */
  async start(features = 0n): Promise<void> {
    if (!(await this.negotiate(features | featureSet(Feature.VERSION_1)))) throw new Error('features refused')
    for (let index = 0; index < this.get('num_queues'); index++) this.setUpQueue(index)
    this.set('device_status', this.get('device_status') | Status.DRIVER_OK)
  }

  #walk(): FoundCapability[] {
    const { pci } = this
    const found: FoundCapability[] = []
    if ((pci.configRead(6, 2) & 0x10) === 0) return found
    for (let at = pci.configRead(0x34, 1); at !== 0; at = pci.configRead(at + 1, 1)) {
      if (found.length === 48) throw new Error('the capability list has no end')
      const id = pci.configRead(at, 1)
      const vendor = id === 9
      const wide = vendor && pci.configRead(at + 3, 1) === 8
      found.push({
        at,
        id,
        type: vendor ? pci.configRead(at + 3, 1) : -1,
        bar: pci.configRead(at + 4, 1),
        regionId: pci.configRead(at + 5, 1),
        offset: pci.configRead(at + 8, 4) + (wide ? pci.configRead(at + 16, 4) * 2 ** 32 : 0),
        length: pci.configRead(at + 12, 4) + (wide ? pci.configRead(at + 20, 4) * 2 ** 32 : 0),
      })
    }
    return found
  }
}
