import type { MappableParts, PciBar } from './pci-function.ts'

/** What a function asks for in one base address register. */
export interface BaseAddressRequest {
  /** Which register, 0 to 5; a 64-bit one takes the next too. */
  readonly index: number
  /** Bytes, a power of two, at least 16. */
  readonly size: number
  readonly kind: 'memory32' | 'memory64'
  readonly prefetchable: boolean
  /** Where a reset puts it, for a bus whose firmware does not place functions; 0 for nowhere. */
  readonly address: number
  readonly mappable?: MappableParts | undefined
}

/**
 * A memory base address register. The low bits say what it is, and the driver can only set those above its size: so it
 * learns the size by writing all ones and reading what stuck.
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
  readonly mappable: MappableParts | undefined
  address = 0
  decoded = false

  constructor(readonly request: BaseAddressRequest) {
    const { size, kind, index, address } = request
    if (size < 16 || !Number.isInteger(Math.log2(size))) throw new RangeError(`BAR ${index}: size ${size}`)
    if (size > 2 ** 31 && kind === 'memory32') throw new RangeError(`BAR ${index}: ${size} bytes need 64 bits`)
    if (address % size !== 0) throw new RangeError(`BAR ${index}: address ${address} is no multiple of ${size}`)
    if (index + this.#registers(kind) > 6) throw new RangeError(`BAR ${index} does not fit`)
    this.size = size
    this.kind = kind
    this.prefetchable = request.prefetchable
    this.mappable = request.mappable
  }

  /** The register's words after a reset, low first. */
  get initialWords(): number[] {
    const { address, kind, prefetchable } = this.request
    const type = (kind === 'memory64' ? 4 : 0) | (prefetchable ? 8 : 0)
    return kind === 'memory64' ? [(address | type) >>> 0, Math.floor(address / 2 ** 32)] : [(address | type) >>> 0]
  }

  /** The bits the driver can set, low word first. */
  get writableWords(): number[] {
    const low = this.size >= 2 ** 32 ? 0 : (-this.size & 0xffff_fff0) >>> 0
    if (this.kind === 'memory32') return [low]
    return [low, this.size > 2 ** 32 ? -(this.size / 2 ** 32) >>> 0 : 0xffff_ffff]
  }

  /** Follows the configuration space. @returns whether what is decoded where changed */
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
