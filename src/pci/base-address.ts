import type { BusDevice } from '../bus/bus-device.ts'
import type { MappableParts, PciBar } from './pci-function.ts'

/** Kind of a base address register: what it maps, and how many bits its address has. */
export type BaseAddressKind = PciBar['kind']

/** Properties of one base address register. */
export interface BaseAddressRequest {
  /** Number of the register, 0 to 5; a 64-bit BAR also takes the next one. 6 for the expansion ROM. */
  readonly index: number
  /** Size in bytes, a power of two: of memory at least 16, of I/O ports 4, of a ROM 2048. */
  readonly size: number
  readonly kind: BaseAddressKind
  /** Whether memory can be prefetched; false for I/O ports and ROMs. */
  readonly prefetchable: boolean
  /** Address after a reset, for a bus without firmware that assigns addresses; 0 if unassigned. */
  readonly address: number
  /** Serves accesses to the BAR. */
  readonly device: BusDevice
  readonly mappable?: MappableParts | undefined
}

/** Address spaces whose accesses the command register lets a function answer. @pci 6.2.2 */
export interface Decoding {
  readonly memory: boolean
  readonly io: boolean
}

interface KindRules {
  /** Number of 32-bit registers. */
  readonly registers: number
  readonly minSize: number
  readonly maxSize: number
  /** Read-only bits below the address, without `PREFETCHABLE`. */
  readonly type: number
  /** Address bits of the low register. */
  readonly addressBits: number
  /** Number of the last register that can begin it. */
  readonly lastIndex: number
}

const BAR_0 = 0x10
const ROM = 0x30
const ROM_INDEX = 6

const RULES: Readonly<Record<BaseAddressKind, KindRules>> = {
  memory32: { registers: 1, minSize: 16, maxSize: 2 ** 31, type: 0, addressBits: 0xffff_fff0, lastIndex: 5 },
  memory64: { registers: 2, minSize: 16, maxSize: 2 ** 52, type: 4, addressBits: 0xffff_fff0, lastIndex: 4 },
  io: { registers: 1, minSize: 4, maxSize: 2 ** 16, type: 1, addressBits: 0xffff_fffc, lastIndex: 5 },
  rom: { registers: 1, minSize: 2 ** 11, maxSize: 2 ** 24, type: 0, addressBits: 0xffff_f800, lastIndex: ROM_INDEX },
}
const PREFETCHABLE = 8
const ROM_ENABLE = 1

/**
 * Base address register. Its low bits give the type, and address bits below the size are read-only: a driver determines
 * the size by writing all ones and reading back.
 *
 *      31 (or 63)                  4   3      2 1     0
 *     | address, 0 below the size | prefetch | type | 0 |        memory; type: 0 = 32 bits, 2 = 64 bits
 *
 *      31                                  2   1   0
 *     | address, 0 below the size           | 0 | 1 |            I/O ports
 *
 *      31                            11          0
 *     | address, 0 below the size     | 0 | enable |            expansion ROM
 *
 * @pci 6.2.5.1, 6.2.5.2
 */
export class BaseAddress implements PciBar {
  /** Offset in the configuration space. */
  readonly offset: number
  readonly size: number
  readonly kind: BaseAddressKind
  readonly prefetchable: boolean
  readonly device: BusDevice
  readonly mappable: MappableParts | undefined
  address = 0
  decoded = false
  readonly #rules: KindRules

  /** @throws {RangeError} if there can be no such register */
  constructor(readonly request: BaseAddressRequest) {
    const { size, kind, index, address, prefetchable } = request
    const rules = RULES[kind]
    if (size < rules.minSize || size > rules.maxSize || !Number.isInteger(Math.log2(size)))
      throw new RangeError(
        `BAR ${index}: size ${size} must be a power of two from ${rules.minSize} to ${rules.maxSize} (${kind})`,
      )
    if (address % size !== 0)
      throw new RangeError(`BAR ${index}: address ${address} must be a multiple of the size ${size}`)
    if (index > rules.lastIndex || (index === ROM_INDEX) !== (kind === 'rom'))
      throw new RangeError(`BAR ${index}: there is no such register of kind ${kind}`)
    if (prefetchable && (kind === 'io' || kind === 'rom'))
      throw new RangeError(`BAR ${index}: only memory is prefetchable`)
    this.#rules = rules
    this.offset = kind === 'rom' ? ROM : BAR_0 + 4 * index
    this.size = size
    this.kind = kind
    this.prefetchable = prefetchable
    this.device = request.device
    this.mappable = request.mappable
  }

  /** Words of the register after a reset, low word first. */
  get initialWords(): number[] {
    const { address, prefetchable } = this.request
    const low = (address | this.#rules.type | (prefetchable ? PREFETCHABLE : 0)) >>> 0
    return this.#rules.registers === 2 ? [low, Math.floor(address / 2 ** 32)] : [low]
  }

  /** Masks of the bits that the driver can set, low word first. */
  get writableWords(): number[] {
    const low = this.size >= 2 ** 32 ? 0 : (-this.size & this.#rules.addressBits) >>> 0
    if (this.#rules.registers === 1) return [this.kind === 'rom' ? low + ROM_ENABLE : low]
    return [low, this.size > 2 ** 32 ? -(this.size / 2 ** 32) >>> 0 : 0xffff_ffff]
  }

  /** Updates address and decoding from the register. @returns whether the decoded range changed */
  update(low: number, high: number, decoding: Decoding): boolean {
    const address = ((low & this.#rules.addressBits) >>> 0) + (this.#rules.registers === 2 ? high * 2 ** 32 : 0)
    const enabled =
      this.kind === 'io' ? decoding.io : decoding.memory && (this.kind !== 'rom' || (low & ROM_ENABLE) !== 0)
    const decoded = enabled && address !== 0
    const changed = decoded !== this.decoded || (decoded && address !== this.address)
    this.address = address
    this.decoded = decoded
    return changed
  }
}
