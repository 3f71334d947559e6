import { elements } from '../snapshot/shape.ts'
import { SnapshotError } from '../snapshot/snapshot-error.ts'
import { BaseAddress, type BaseAddressRequest, type Decoding } from './base-address.ts'
import type { ExtendedCapability, PciCapability } from './capability.ts'

// Type 0 configuration space header                                   @pci 6.1
//
//        0           2           4           6
//   00 | vendor    | device    | command   | status    |
//   08 | revision, class (24)  | cache line, latency, header type, BIST |
//   10 | BAR 0                 | BAR 1                 |
//   18 | BAR 2                 | BAR 3                 |
//   20 | BAR 4                 | BAR 5                 |
//   28 | cardbus CIS           | subsystem vendor, id  |
//   30 | expansion ROM         | capabilities (8)      |
//   38 | reserved              | line, pin, min grant, max latency |
//   40 | capabilities, in a list
//  100 | extended capabilities of a PCI Express function, in a list
//
const VENDOR_ID = 0x00
const DEVICE_ID = 0x02
const COMMAND = 0x04
const STATUS = 0x06
const REVISION = 0x08
const CACHE_LINE_SIZE = 0x0c
const LATENCY_TIMER = 0x0d
const BAR_0 = 0x10
const BAR_END = 0x28
const ROM = 0x30
const ROM_END = 0x34
const SUBSYSTEM_VENDOR_ID = 0x2c
const SUBSYSTEM_ID = 0x2e
const CAPABILITIES = 0x34
const INTERRUPT_LINE = 0x3c
const INTERRUPT_PIN = 0x3d
const HEADER_END = 0x40
const SIZE = 0x100
/** First extended capability. */
const EXTENDED = 0x100
const EXTENDED_SIZE = 0x1000
const EXTENDED_LINK_BYTES = 4

/** Shape of saved bytes. */
export const CONFIGURATION_SPACE = elements(Uint8Array, SIZE, EXTENDED_SIZE)

/** Supported bits of the command register. @pci 6.2.2 */
const Command = {
  IO: 1 << 0,
  MEMORY: 1 << 1,
  BUS_MASTER: 1 << 2,
  PARITY: 1 << 6,
  SERR: 1 << 8,
  INTX_DISABLE: 1 << 10,
} as const
/** Status register bits. @pci 6.2.3 */
const STATUS_INTERRUPT = 1 << 3
const STATUS_CAPABILITIES = 1 << 4

/** Identification registers of a function: vendor, device, revision, class code and subsystem. */
export interface PciIdentity {
  readonly vendor: number
  readonly device: number
  readonly revision: number
  /** Base class, sub-class and programming interface, 24 bits. */
  readonly classCode: number
  readonly subsystemVendor: number
  readonly subsystem: number
  /** Interrupt pin: 1 for INTA to 4 for INTD. @default 1 */
  readonly interruptPin?: 1 | 2 | 3 | 4
}

/**
 * Configuration space of a function: its identity, interrupt pin, base addresses and capabilities. It has 256 bytes, or
 * 4096 if there are extended capabilities.
 *
 *     const space = new ConfigurationSpace(identity, bars, [msix.capability], onChange)
 *     space.write(0x10, 4, 0xffff_ffff)
 *     space.read(0x10, 4)                       // the size of BAR 0
 *
 * A mask states which bits the driver can write. Accesses may have any alignment. Beyond the end, reads return 0 and
 * writes are ignored.
 */
export class ConfigurationSpace {
  /** BARs 0 to 5. */
  readonly bars: readonly (BaseAddress | undefined)[]
  /** Expansion ROM. */
  readonly rom: BaseAddress | undefined
  readonly #baseAddresses: readonly BaseAddress[]
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #initial: Uint8Array
  readonly #writable: Uint8Array<ArrayBuffer>
  /** Mask of read-only bits that the function changes. */
  readonly #dynamic: Uint8Array
  readonly #view: DataView
  readonly #capabilities: { readonly capability: PciCapability; readonly start: number; readonly body: Uint8Array }[] =
    []

  /**
   * @param onChange called after each write to the command register, and after each change of a decoded range; `mapped`
   *   is true if a decoded range changed
   * @param extended extended capabilities, which require a PCI Express capability. @default none
   */
  constructor(
    identity: PciIdentity,
    requests: readonly BaseAddressRequest[],
    capabilities: readonly PciCapability[],
    private readonly onChange: (mapped: boolean) => void,
    extended: readonly ExtendedCapability[] = [],
  ) {
    const size = extended.length > 0 ? EXTENDED_SIZE : SIZE
    this.#bytes = new Uint8Array(size)
    this.#writable = new Uint8Array(size)
    this.#dynamic = new Uint8Array(size)
    this.#dynamic[STATUS] = STATUS_INTERRUPT
    this.#view = new DataView(this.#bytes.buffer)
    const view = this.#view
    view.setUint16(VENDOR_ID, identity.vendor, true)
    view.setUint16(DEVICE_ID, identity.device, true)
    view.setUint32(REVISION, identity.revision | (identity.classCode << 8), true)
    view.setUint16(SUBSYSTEM_VENDOR_ID, identity.subsystemVendor, true)
    view.setUint16(SUBSYSTEM_ID, identity.subsystem, true)
    view.setUint8(INTERRUPT_PIN, identity.interruptPin ?? 1)
    const masks = new DataView(this.#writable.buffer)
    masks.setUint16(COMMAND, commandBits(requests), true)
    masks.setUint8(CACHE_LINE_SIZE, 0xff)
    masks.setUint8(LATENCY_TIMER, 0xff)
    masks.setUint8(INTERRUPT_LINE, 0xff)
    this.#baseAddresses = requests.map((request) => this.#placeBaseAddress(request, masks))
    const at = (index: number) => this.#baseAddresses.find(({ request }) => request.index === index)
    this.bars = [0, 1, 2, 3, 4, 5].map(at)
    this.rom = at(6)
    this.#placeCapabilities(capabilities)
    this.#placeExtended(extended)
    this.#initial = this.#bytes.slice()
    this.#updateBars()
  }

  /** Size in bytes. */
  get size(): number {
    return this.#bytes.length
  }

  get busMaster(): boolean {
    return (this.#bytes[COMMAND] & Command.BUS_MASTER) !== 0
  }

  get interruptDisabled(): boolean {
    return (this.#view.getUint16(COMMAND, true) & Command.INTX_DISABLE) !== 0
  }

  /** Interrupt status bit: an interrupt is pending, even if INTX_DISABLE keeps the pin deasserted. @pci 6.2.3 */
  set interruptStatus(pending: boolean) {
    if (pending) this.#bytes[STATUS] |= STATUS_INTERRUPT
    else this.#bytes[STATUS] &= ~STATUS_INTERRUPT
  }

  read(offset: number, width: number): number {
    for (const { capability, start, body } of this.#capabilities) {
      if (capability.beforeRead && offset < start + body.length && offset + width > start) {
        capability.beforeRead(body, Math.max(0, offset - start), Math.min(body.length, offset + width - start))
      }
    }
    let value = 0
    for (let i = 0; i < width; i++) value |= (this.#bytes[offset + i] ?? 0) << (8 * i)
    return value >>> 0
  }

  write(offset: number, width: number, value: number): void {
    const end = Math.min(offset + width, this.size)
    for (let at = offset; at < end; at++) {
      const mask = this.#writable[at]
      this.#bytes[at] = (this.#bytes[at] & ~mask) | ((value >>> (8 * (at - offset))) & mask)
    }
    const commandWritten = offset < STATUS && end > COMMAND
    if (commandWritten || (offset < BAR_END && end > BAR_0) || (offset < ROM_END && end > ROM)) {
      const mapped = this.#updateBars()
      if (commandWritten || mapped) this.onChange(mapped)
    }
    for (const { capability, start, body } of this.#capabilities) {
      if (capability.afterWrite && offset < start + body.length && end > start) {
        capability.afterWrite(body, Math.max(0, offset - start), Math.min(body.length, end - start))
      }
    }
  }

  /** Restores the initial bytes: memory decoding and bus mastering are off. */
  reset(): void {
    this.#bytes.set(this.#initial)
    this.onChange(this.#updateBars())
    for (const { capability, body } of this.#capabilities) capability.afterWrite?.(body, 0, body.length)
  }

  /** Returns a copy of all bytes. @see restore */
  save(): Uint8Array {
    return this.#bytes.slice()
  }

  /**
   * Checks saved bytes.
   * @throws {SnapshotError} if they have other read-only bits: the function has another identity, BARs or capabilities
   */
  check(bytes: Uint8Array): void {
    if (bytes.length !== this.size) {
      throw new SnapshotError(`the saved configuration space has ${bytes.length} bytes, not ${this.size}`)
    }
    for (let at = 0; at < this.size; at++) {
      if (((bytes[at] ^ this.#initial[at]) & ~this.#writable[at] & ~this.#dynamic[at]) === 0) continue
      throw new SnapshotError(`the saved configuration space is that of another function: it differs at ${at}`)
    }
  }

  /** Takes saved bytes, which `check` accepted. */
  restore(bytes: Uint8Array): void {
    this.#bytes.set(bytes)
    for (const { capability, body } of this.#capabilities) capability.afterRestore?.(body)
    this.onChange(this.#updateBars())
  }

  #placeBaseAddress(request: BaseAddressRequest, masks: DataView): BaseAddress {
    const bar = new BaseAddress(request)
    bar.initialWords.forEach((word, i) => {
      this.#view.setUint32(bar.offset + 4 * i, word, true)
    })
    bar.writableWords.forEach((mask, i) => {
      masks.setUint32(bar.offset + 4 * i, mask, true)
    })
    return bar
  }

  #placeCapabilities(capabilities: readonly PciCapability[]): void {
    let link = CAPABILITIES
    let at = HEADER_END
    for (const capability of capabilities) {
      const start = at + 2
      const end = start + capability.body.length
      if (end > SIZE) throw new RangeError(`capability ${capability.id} ends at ${end}, past the configuration space`)
      this.#bytes[link] = at
      this.#bytes[at] = capability.id
      this.#dynamic.fill(0xff, start + (capability.dynamic ?? capability.body.length), end)
      this.#place(capability, start, end)
      link = at + 1
      at = (end + 3) & ~3
    }
    if (capabilities.length > 0) this.#bytes[STATUS] |= STATUS_CAPABILITIES
  }

  #placeExtended(capabilities: readonly ExtendedCapability[]): void {
    let link: number | undefined
    let at = EXTENDED
    for (const capability of capabilities) {
      const { id, version = 1, body } = capability
      const start = at + EXTENDED_LINK_BYTES
      const end = start + body.length
      if (end > this.size)
        throw new RangeError(`extended capability ${id} ends at ${end}, past the configuration space`)
      this.#view.setUint16(at, id, true)
      this.#view.setUint16(at + 2, version, true)
      if (link !== undefined) this.#view.setUint16(link, this.#view.getUint16(link, true) | (at << 4), true)
      this.#place(capability, start, end)
      link = at + 2
      at = (end + 3) & ~3
    }
  }

  /** Puts the body of a capability at its place. */
  #place(capability: PciCapability, start: number, end: number): void {
    const body = this.#bytes.subarray(start, end)
    body.set(capability.body)
    if (capability.writable) this.#writable.set(capability.writable, start)
    capability.placed?.(body)
    this.#capabilities.push({ capability, start, body })
  }

  #updateBars(): boolean {
    const command = this.#bytes[COMMAND]
    const decoding: Decoding = { memory: (command & Command.MEMORY) !== 0, io: (command & Command.IO) !== 0 }
    let changed = false
    for (const bar of this.#baseAddresses) {
      const at = bar.offset
      const high = bar.kind === 'memory64' ? this.#view.getUint32(at + 4, true) : 0
      if (bar.update(this.#view.getUint32(at, true), high, decoding)) changed = true
    }
    return changed
  }
}

/** Returns the command register bits that a driver can set: a space without a BAR cannot be enabled. @pci 6.2.2 */
function commandBits(requests: readonly BaseAddressRequest[]): number {
  const io = requests.some(({ kind }) => kind === 'io')
  const memory = requests.some(({ kind }) => kind !== 'io')
  const spaces = (io ? Command.IO : 0) | (memory ? Command.MEMORY : 0)
  return spaces | Command.BUS_MASTER | Command.PARITY | Command.SERR | Command.INTX_DISABLE
}
