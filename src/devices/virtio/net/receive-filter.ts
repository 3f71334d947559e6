import { VLAN_TYPE } from '../../../services/packet.ts'
import { elements, flag, integer, list, record, type Shaped } from '../../../snapshot/shape.ts'
import { addressNumber, isGroup } from './mac-address.ts'

/** Bytes at the start of a frame that the filter reads: two addresses, the type, and the VLAN tag if there is one. */
export const FILTER_BYTES = 18
/** Capacity of each address table. A driver that sets more addresses receives all packets of that kind. */
export const MAX_ADDRESSES = 64
export const MAX_VLANS = 4096
const BROADCAST = 2 ** 48 - 1

/** Shape of a saved table. */
const TABLE = record({ addresses: list(integer(0, BROADCAST), 0, MAX_ADDRESSES), overflow: flag })
type SavedTable = Shaped<typeof TABLE>

/** Shape of a saved filter, without the values that `reset` sets. */
export const FILTER = record({
  promiscuous: flag,
  allMulticast: flag,
  allUnicast: flag,
  noMulticast: flag,
  noUnicast: flag,
  noBroadcast: flag,
  unicast: TABLE,
  multicast: TABLE,
  /** One bit for each VLAN. */
  vlans: elements(Uint8Array, MAX_VLANS / 8),
})
type SavedFilter = Shaped<typeof FILTER>

/** Unicast or multicast addresses whose packets the driver receives. @virtio 5.1.6.5.2 */
export class AddressTable {
  readonly #addresses = new Float64Array(MAX_ADDRESSES)
  #count = 0
  /** True if more addresses were added than the table holds: it then contains every address. */
  #overflow = false

  get size(): number {
    return this.#count
  }

  add(address: number): void {
    if (this.#count === MAX_ADDRESSES) this.#overflow = true
    else this.#addresses[this.#count++] = address
  }

  has(address: number): boolean {
    if (this.#overflow) return true
    for (let i = 0; i < this.#count; i++) if (this.#addresses[i] === address) return true
    return false
  }

  clear(): void {
    this.#count = 0
    this.#overflow = false
  }

  save(): SavedTable {
    return { addresses: [...this.#addresses.subarray(0, this.#count)], overflow: this.#overflow }
  }

  restore({ addresses, overflow }: SavedTable): void {
    this.#addresses.set(addresses)
    this.#count = addresses.length
    this.#overflow = overflow
  }
}

/**
 * Filter of received frames, as the driver set it. @virtio 5.1.6.5.1, 5.1.6.5.2, 5.1.6.5.3
 *
 *     filter.reset(address, false, true)          // accepts frames to this address and broadcasts
 *     filter.unicast.add(other)
 *     if (filter.accepts(frame)) ...
 */
export class ReceiveFilter {
  promiscuous = true
  allMulticast = false
  allUnicast = false
  noMulticast = false
  noUnicast = false
  noBroadcast = false
  unicast = new AddressTable()
  multicast = new AddressTable()
  /** True if tagged frames are accepted only if their VLAN is in the table. */
  #filtersVlans = false
  readonly #vlans = new Uint8Array(MAX_VLANS / 8)
  #address = 0

  /** Restores the initial state: only the station's own address, and no VLANs. */
  reset(address: Uint8Array, promiscuous: boolean, filtersVlans: boolean): void {
    this.address = address
    this.promiscuous = promiscuous
    this.allMulticast = false
    this.allUnicast = false
    this.noMulticast = false
    this.noUnicast = false
    this.noBroadcast = false
    this.unicast.clear()
    this.multicast.clear()
    this.#filtersVlans = filtersVlans
    this.#vlans.fill(0)
  }

  /** Unicast address of the station. */
  set address(address: Uint8Array) {
    this.#address = addressNumber(address)
  }

  setVlan(id: number, wanted: boolean): void {
    if (wanted) this.#vlans[id >> 3] |= 1 << (id & 7)
    else this.#vlans[id >> 3] &= ~(1 << (id & 7))
  }

  save(): SavedFilter {
    const { promiscuous, allMulticast, allUnicast, noMulticast, noUnicast, noBroadcast } = this
    const modes = { promiscuous, allMulticast, allUnicast, noMulticast, noUnicast, noBroadcast }
    const tables = { unicast: this.unicast.save(), multicast: this.multicast.save() }
    return { ...modes, ...tables, vlans: this.#vlans.slice() }
  }

  /** Applies the saved settings of another filter, after `reset`. */
  restore(saved: SavedFilter): void {
    this.promiscuous = saved.promiscuous
    this.allMulticast = saved.allMulticast
    this.allUnicast = saved.allUnicast
    this.noMulticast = saved.noMulticast
    this.noUnicast = saved.noUnicast
    this.noBroadcast = saved.noBroadcast
    this.unicast.restore(saved.unicast)
    this.multicast.restore(saved.multicast)
    this.#vlans.set(saved.vlans)
  }

  /** @param frame first `FILTER_BYTES` of the frame; a shorter frame is padded with zeroes */
  accepts(frame: Uint8Array): boolean {
    if (this.promiscuous) return true
    if (this.#filtersVlans && isTagged(frame)) {
      const id = ((frame[14] & 0x0f) << 8) | frame[15]
      if ((this.#vlans[id >> 3] & (1 << (id & 7))) === 0) return false
    }
    const address = addressNumber(frame)
    if (address === BROADCAST) return !this.noBroadcast
    if (isGroup(frame)) return !this.noMulticast && (this.allMulticast || this.multicast.has(address))
    return !this.noUnicast && (this.allUnicast || address === this.#address || this.unicast.has(address))
  }

  inspect(): Record<string, unknown> {
    const vlans: number[] = []
    for (let id = 0; id < MAX_VLANS; id++) if ((this.#vlans[id >> 3] & (1 << (id & 7))) !== 0) vlans.push(id)
    return {
      promiscuous: this.promiscuous,
      allMulticast: this.allMulticast,
      allUnicast: this.allUnicast,
      noMulticast: this.noMulticast,
      noUnicast: this.noUnicast,
      noBroadcast: this.noBroadcast,
      unicast: this.unicast.size,
      multicast: this.multicast.size,
      vlans: this.#filtersVlans ? vlans : 'all',
    }
  }
}

/** True if the frame has a VLAN tag. @param frame at least its first 14 bytes */
export function isTagged(frame: Uint8Array): boolean {
  return ((frame[12] << 8) | frame[13]) === VLAN_TYPE
}
