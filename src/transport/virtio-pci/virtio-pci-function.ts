import type { BusDevice } from '../../bus/bus-device.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import type { BaseAddressRequest } from '../../pci/base-address.ts'
import type { PciCapability } from '../../pci/capability.ts'
import { CONFIGURATION_SPACE, ConfigurationSpace } from '../../pci/configuration-space.ts'
import { MAX_MSIX_VECTORS, Msix, msixShape } from '../../pci/msix.ts'
import type { PciBar, PciBus, PciFunction } from '../../pci/pci-function.ts'
import type { Pending } from '../../pending/pending.ts'
import type { SavedState } from '../../snapshot/saved-state.ts'
import { nested, nullable, stateShape } from '../../snapshot/shape.ts'
import { SnapshotError } from '../../snapshot/snapshot-error.ts'
import type { Suspendable } from '../../snapshot/suspendable.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { DeviceStateInspection } from '../../virtio/device-inspection.ts'
import { DeviceState } from '../../virtio/device-state.ts'
import { regionBytes } from '../../virtio/shared-memory.ts'
import { classCode } from './class-code.ts'
import { COMMON_CFG_LENGTH, CommonConfig, SELECTION } from './common-config.ts'
import { Interrupts, interruptsShape } from './interrupts.ts'
import { SharedMemoryBar } from './shared-memory-bar.ts'
import {
  CfgType,
  notifyCapability,
  pciAccessCapability,
  sharedMemoryCapability,
  structureCapability,
} from './structure-capability.ts'

export interface VirtioPciOptions {
  /** Guest memory, which holds the rings and buffers. */
  readonly memory: GuestMemory
  /**
   * Receives one line for each fault of driver or device. A guest can provoke any number: limit them by `limitedLog`.
   */
  readonly log: (line: string) => void
  /**
   * Calls `publish` at the end of the current batch of host completions. A host that calls `VirtioPciFunction.publish`
   * in each turn of its own may do nothing. @default queueMicrotask
   */
  readonly batchEnds?: (publish: () => void) => void
  /** BAR addresses after a reset, by BAR number, for a bus without firmware that assigns them. @default unassigned */
  readonly barAddresses?: Readonly<Record<number, number>>
}

/** Vendor id, and device id of virtio device type 0. @virtio 4.1.2.1 */
const VENDOR = 0x1af4
const FIRST_DEVICE = 0x1040
/** Revision of a non-transitional device. @virtio 4.1.2.1 */
const REVISION = 1

// BAR 0: registers. Each structure has separate pages, so that a monitor can map or trap them separately.
//
//   0x0000          0x1000   0x2000          0x2000 + device configuration, in pages
//   | common config | ISR    | device config | one notification register of 4 bytes a queue |
//
// BAR 1, if the bus has MSI-X messages: the MSI-X table and its pending bits.
// BAR 2 (64-bit), if the device has shared memory: its regions.
const REGISTERS = 0
const MESSAGES = 1
const SHARED_MEMORY = 2
const PAGE = 0x1000
const COMMON_CFG = 0x0000
const ISR_CFG = 0x1000
const ISR_LENGTH = 4
const DEVICE_CFG = 0x2000
/** Bytes from one queue's notification register to the next: a power of two. @virtio 4.1.4.4.1 */
const NOTIFY_MULTIPLIER = 4

/** Returns the shape of the saved state of a function. */
function stateOf(name: string, queues: number, msix: Msix | undefined) {
  return stateShape(name, 1, {
    device: nested,
    configuration: CONFIGURATION_SPACE,
    interrupts: interruptsShape(queues),
    msix: nullable(msixShape(msix?.vectors ?? 1)),
    selection: SELECTION,
  })
}

/**
 * PCI function of a virtio device: modern only, with INTA, and MSI-X if the bus has messages. @virtio 4.1
 *
 *     const pci = new VirtioPciFunction(new EntropyDevice(source), bus, { memory, log })
 *     pci.configWrite(0x10, 4, 0xfea0_0000)   // BAR 0
 *     pci.configWrite(0x04, 2, 0x0006)        // memory decoding and bus mastering on
 *     pci.bars[0]?.device.read(18, 2)         // num_queues
 *
 * While bus mastering is off, the device pops no chains and sends no messages; both wait until it is on.
 */
export class VirtioPciFunction implements PciFunction, Suspendable {
  readonly name: string
  readonly #state: DeviceState
  readonly #space: ConfigurationSpace
  readonly #interrupts: Interrupts
  readonly #common: CommonConfig
  readonly #msix: Msix | undefined
  readonly #shared: SharedMemoryBar | undefined
  readonly #shape: ReturnType<typeof stateOf>
  /** Bytes of device configuration. */
  readonly #configSize: number
  /** Offsets in BAR 0 of the start and end of the notification registers. */
  readonly #notifyStart: number
  readonly #notifyEnd: number

  constructor(device: VirtioDevice, bus: PciBus, options: VirtioPciOptions) {
    this.name = device.name
    const queues = device.queueSizes.length
    this.#configSize = device.config.size
    this.#notifyStart = DEVICE_CFG + Math.max(1, Math.ceil(this.#configSize / PAGE)) * PAGE
    // A device without queues must have a notification structure too. @virtio 4.1.4.4.1
    this.#notifyEnd = this.#notifyStart + Math.max(1, queues) * NOTIFY_MULTIPLIER
    if (bus.sendMessage || bus.sendVector) {
      this.#msix = new Msix(Math.min(queues + 1, MAX_MSIX_VECTORS), MESSAGES, bus)
    }
    const regions = device.sharedMemory ?? []
    const shown = regions.filter((region) => !('window' in region))
    if (shown.length > 0) this.#shared = new SharedMemoryBar(shown)
    if (shown.length < regions.length) options.log(`${device.name}: no windows: this bus cannot map files into a BAR`)
    this.#space = new ConfigurationSpace(
      {
        vendor: VENDOR,
        device: FIRST_DEVICE + device.id,
        revision: REVISION,
        classCode: classCode(device.id),
        subsystemVendor: VENDOR,
        subsystem: FIRST_DEVICE + device.id,
      },
      this.#requestBars(options.barAddresses ?? {}),
      this.#capabilities(),
      (mapped) => {
        this.#commandChanged()
        if (mapped) bus.barsChanged?.()
      },
    )
    this.#interrupts = new Interrupts(queues, bus, this.#msix, this.#space)
    const interrupts = this.#interrupts
    this.#state = new DeviceState(device, {
      memory: options.memory,
      queueInterrupt: (queue) => interrupts.queue(queue),
      configInterrupt: () => interrupts.config(),
      queueReset: (queue) => interrupts.unmapQueue(queue),
      deviceReset: () => {
        interrupts.reset()
        this.#common.reset()
      },
      batchEnds: options.batchEnds ?? ((publish) => queueMicrotask(publish)),
      log: options.log,
    })
    this.#common = new CommonConfig(this.#state, interrupts)
    this.#shape = stateOf(this.name, queues, this.#msix)
    this.#commandChanged()
  }

  get bars(): readonly (PciBar | undefined)[] {
    return this.#space.bars
  }

  configRead(offset: number, width: number): number {
    return this.#space.read(offset, width)
  }

  configWrite(offset: number, width: number, value: number): void {
    this.#space.write(offset, width, value)
    // The write may have enabled or disabled MSI-X, on which the pin depends.
    this.#interrupts.update()
  }

  memoryChanged(removed: boolean): void | Pending {
    return this.#state.memoryChanged(removed)
  }

  publish(): void {
    this.#state.publish()
  }

  poll(): boolean {
    return this.#state.poll()
  }

  stopPolling(): void {
    this.#state.stopPolling()
  }

  retryVectors(): void {
    this.#msix?.retry()
  }

  reset(): void | Pending {
    // First: resetting the command register enables the pin again.
    this.#interrupts.reset()
    this.#space.reset()
    this.#msix?.reset()
    return this.#state.reset()
  }

  suspend(): void | Pending {
    return this.#state.suspend()
  }

  /** Ends a suspension: sends pending interrupts, and serves what waits. */
  resume(): void {
    this.#state.resume()
    this.#msix?.retry()
    this.#interrupts.update()
  }

  save(): SavedState {
    return this.#shape.write({
      device: this.#state.save(),
      configuration: this.#space.save(),
      interrupts: this.#interrupts.save(),
      msix: this.#msix?.save() ?? null,
      selection: this.#common.save(),
    })
  }

  restore(state: SavedState): void {
    const saved = this.#shape.read(state)
    const { device, configuration, interrupts, msix, selection } = saved
    if ((msix !== null) !== (this.#msix !== undefined)) {
      throw new SnapshotError(`${this.name}: one of the saved function and this function has no MSI-X`)
    }
    this.#space.check(configuration)
    this.#interrupts.check(interrupts)
    try {
      this.#state.restore(device)
    } catch (error) {
      // The device may be as after a reset.
      if (this.#state.status === 0) {
        this.#interrupts.reset()
        this.#common.reset()
      }
      throw error
    }
    this.#interrupts.restore(interrupts)
    if (msix) this.#msix?.restore(msix)
    this.#common.restore(selection)
    this.#space.restore(configuration)
    this.#interrupts.update()
  }

  inspect(): DeviceStateInspection {
    return this.#state.inspect()
  }

  #readRegisters(offset: number, width: number): number {
    if (offset < ISR_CFG) return this.#common.read(offset, width)
    if (offset === ISR_CFG) return this.#interrupts.takeIsr()
    const config = offset - DEVICE_CFG
    return config >= 0 && offset < this.#notifyStart ? this.#state.readConfig(config, width) : 0
  }

  #writeRegisters(offset: number, width: number, value: number): void {
    if (offset >= this.#notifyStart) this.#notify(offset)
    else if (offset < ISR_CFG) this.#common.write(offset, width, value)
    else if (offset >= DEVICE_CFG) this.#state.writeConfig(offset - DEVICE_CFG, width, value)
  }

  /** Handles a write to a notification register, whose offset selects the queue. Ignores the value. @virtio 4.1.5.2 */
  #notify(offset: number): void {
    const register = offset - this.#notifyStart
    if (offset < this.#notifyEnd && register % NOTIFY_MULTIPLIER === 0) this.#state.notify(register / NOTIFY_MULTIPLIER)
  }

  /** Follows a change of the command register. */
  #commandChanged(): void {
    const held = !this.#space.busMaster
    this.#msix?.hold(held)
    this.#state.hold(held)
    this.#interrupts.update()
  }

  #requestBars(addresses: Readonly<Record<number, number>>): BaseAddressRequest[] {
    const requests: BaseAddressRequest[] = []
    const request = (index: number, size: number, kind: BaseAddressRequest['kind'], device: BusDevice) => {
      const whole = 2 ** Math.ceil(Math.log2(Math.max(size, PAGE)))
      const address = addresses[index] ?? 0
      const mappable = device === this.#shared ? this.#shared.mappable : undefined
      requests.push({ index, size: whole, kind, prefetchable: kind === 'memory64', address, device, mappable })
    }
    request(REGISTERS, this.#notifyEnd, 'memory32', {
      read: (offset, width) => this.#readRegisters(offset, width),
      write: (offset, width, value) => this.#writeRegisters(offset, width, value),
    })
    if (this.#msix) request(MESSAGES, this.#msix.size, 'memory32', this.#msix)
    if (this.#shared) request(SHARED_MEMORY, this.#shared.size, 'memory64', this.#shared)
    return requests
  }

  #capabilities(): PciCapability[] {
    const at = (offset: number, length: number) => ({ bar: REGISTERS, offset, length })
    const list = [
      structureCapability(CfgType.COMMON_CFG, at(COMMON_CFG, COMMON_CFG_LENGTH)),
      notifyCapability(at(this.#notifyStart, this.#notifyEnd - this.#notifyStart), NOTIFY_MULTIPLIER),
      structureCapability(CfgType.ISR_CFG, at(ISR_CFG, ISR_LENGTH)),
    ]
    if (this.#configSize > 0) list.push(structureCapability(CfgType.DEVICE_CFG, at(DEVICE_CFG, this.#configSize)))
    for (const { region, offset } of this.#shared?.placed ?? []) {
      list.push(sharedMemoryCapability(region.id, { bar: SHARED_MEMORY, offset, length: regionBytes(region) }))
    }
    list.push(pciAccessCapability((bar) => this.#space.bars[bar]))
    if (this.#msix) list.push(this.#msix.capability)
    return list
  }
}
