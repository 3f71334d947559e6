import type { BusDevice } from '../bus/bus-device.ts'
import type { MappableParts, PciBar } from './pci-function.ts'

/** Properties of one base address register. */
export interface BaseAddressRequest {
  /** Number of the register, 0 to 5; a 64-bit BAR also takes the next one. */
  readonly index: number
  /** Size in bytes, a power of two, at least 16. */
  readonly size: number
  readonly kind: 'memory32' | 'memory64'
  readonly prefetchable: boolean
  /** Address after a reset, for a bus without firmware that assigns addresses; 0 if unassigned. */
  readonly address: number
  /** Serves accesses to the BAR. */
  readonly device: BusDevice
  readonly mappable?: MappableParts | undefined
}

/**
 * Memory base address register. Its low bits give the type, and address bits below the size are read-only: a driver
 * determines the size by writing all ones and reading back.
 *
 *      31 (or 63)                  4   3      2 1     0
 *     | address, 0 below the size | prefetch | type | 0 |        type: 0 = 32 bits, 2 = 64 bits
 *
 * @pci 6.2.5.1
 */
export class BaseAddress implements PciBar {
  readonly size: number
  readonly kind: 'memory32' | 'memory64'
  readonly prefetchable: boolean
  readonly device: BusDevice
  readonly mappable: MappableParts | undefined
  address = 0
  decoded = false

  constructor(readonly request: BaseAddressRequest) {
    const { size, kind, index, address } = request
    if (size < 16 || !Number.isInteger(Math.log2(size)))
      throw new RangeError(`BAR ${index}: size ${size} must be a power of two, at least 16`)
    if (size > 2 ** 31 && kind === 'memory32') throw new RangeError(`BAR ${index}: ${size} bytes need a 64-bit BAR`)
    if (address % size !== 0)
      throw new RangeError(`BAR ${index}: address ${address} must be a multiple of the size ${size}`)
    if (index + this.#registers(kind) > 6) throw new RangeError(`BAR ${index}: only registers 0 to 5 exist`)
    this.size = size
    this.kind = kind
    this.prefetchable = request.prefetchable
    this.device = request.device
    this.mappable = request.mappable
  }

  /** Words of the register after a reset, low word first. */
  get initialWords(): number[] {
    const { address, kind, prefetchable } = this.request
    const type = (kind === 'memory64' ? 4 : 0) | (prefetchable ? 8 : 0)
    return kind === 'memory64' ? [(address | type) >>> 0, Math.floor(address / 2 ** 32)] : [(address | type) >>> 0]
  }

  /** Masks of the bits that the driver can set, low word first. */
  get writableWords(): number[] {
    const low = this.size >= 2 ** 32 ? 0 : (-this.size & 0xffff_fff0) >>> 0
    if (this.kind === 'memory32') return [low]
    return [low, this.size > 2 ** 32 ? -(this.size / 2 ** 32) >>> 0 : 0xffff_ffff]
  }

  /** Updates address and decoding from the register. @returns whether the decoded range changed */
  update(low: number, high: number, memoryEnabled: boolean): boolean {
    const address = ((low & 0xffff_fff0) >>> 0) + (this.kind === 'memory64' ? high * 2 ** 32 : 0)
    const decoded = memoryEnabled && address !== 0
    const changed = decoded !== this.decoded || (decoded && address !== this.address)
    this.address = address
    this.decoded = decoded
    return changed
  }

  #registers(kind: 'memory32' | 'memory64'): number {
    return kind === 'memory64' ? 2 : 1
  }
}
