import { Offload } from '../../../services/network-port.ts'
import { ADDRESS_BYTES } from '../../../services/packet.ts'
import { hasFeature } from '../../../virtio/feature.ts'
import type { Reader } from '../../../virtqueue/reader.ts'
import { addressNumber, isGroup, isStation } from './mac-address.ts'
import { GUEST_OFFLOADS } from './net-features.ts'
import {
  CtrlAnnounce,
  CtrlClass,
  CtrlGuestOffloads,
  CtrlMac,
  CtrlMq,
  CtrlRx,
  CtrlVlan,
  NetFeature,
} from './protocol.ts'
import { AddressTable, MAX_VLANS, type ReceiveFilter } from './receive-filter.ts'

/** Maximum bytes of a command: enough for thousands of addresses, too few to stall the host. */
const MAX_COMMAND_BYTES = 65536

/** Device state that commands change, apart from the filter. Each method returns false if it cannot make the change. */
export interface ControlTarget {
  setAddress(address: Uint8Array): boolean
  acknowledgeAnnouncement(): boolean
  setPairs(count: number): boolean
  setReceiveOffloads(offloads: number): boolean
}

/**
 * Commands of the control queue. A command that is unknown, was not negotiated, has the wrong length, or has an invalid
 * argument is refused and changes nothing. @virtio 5.1.6.5
 */
export class ControlCommands {
  readonly #filter: ReceiveFilter
  readonly #target: ControlTarget
  #features = 0n
  readonly #address = new Uint8Array(ADDRESS_BYTES)
  /** Tables that replace those of the filter once the whole command is valid. */
  #unicast = new AddressTable()
  #multicast = new AddressTable()

  constructor(filter: ReceiveFilter, target: ControlTarget) {
    this.#filter = filter
    this.#target = target
  }

  /** @param features negotiated features, which decide the commands that are accepted */
  reset(features: bigint): void {
    this.#features = features
  }

  /** Executes a command. @returns false if it is refused */
  handle(command: Reader): boolean {
    if (command.remaining < 2 || command.remaining > MAX_COMMAND_BYTES) return false
    const kind = command.u8()
    const number = command.u8()
    switch (kind) {
      case CtrlClass.RX:
        return this.#setMode(number, command)
      case CtrlClass.MAC:
        return number === CtrlMac.TABLE_SET ? this.#setTables(command) : this.#setAddress(number, command)
      case CtrlClass.VLAN:
        return this.#setVlan(number, command)
      case CtrlClass.ANNOUNCE:
        return (
          this.#has(NetFeature.GUEST_ANNOUNCE) &&
          number === CtrlAnnounce.ACK &&
          command.remaining === 0 &&
          this.#target.acknowledgeAnnouncement()
        )
      case CtrlClass.MQ:
        return (
          this.#has(NetFeature.MQ) &&
          number === CtrlMq.VQ_PAIRS_SET &&
          command.remaining === 2 &&
          this.#target.setPairs(command.u16())
        )
      case CtrlClass.GUEST_OFFLOADS:
        return this.#setOffloads(number, command)
      default:
        return false
    }
  }

  #has(feature: number): boolean {
    return hasFeature(this.#features, feature)
  }

  /** @virtio 5.1.6.5.1 */
  #setMode(number: number, command: Reader): boolean {
    const feature = number <= CtrlRx.ALLMULTI ? NetFeature.CTRL_RX : NetFeature.CTRL_RX_EXTRA
    if (!this.#has(feature) || command.remaining !== 1) return false
    const value = command.u8()
    if (value > 1) return false
    const on = value === 1
    const filter = this.#filter
    switch (number) {
      case CtrlRx.PROMISC:
        filter.promiscuous = on
        return true
      case CtrlRx.ALLMULTI:
        filter.allMulticast = on
        return true
      case CtrlRx.ALLUNI:
        filter.allUnicast = on
        return true
      case CtrlRx.NOMULTI:
        filter.noMulticast = on
        return true
      case CtrlRx.NOUNI:
        filter.noUnicast = on
        return true
      case CtrlRx.NOBCAST:
        filter.noBroadcast = on
        return true
      default:
        return false
    }
  }

  /** @virtio 5.1.6.5.2 */
  #setTables(command: Reader): boolean {
    if (!this.#has(NetFeature.CTRL_RX)) return false
    if (!this.#readTable(command, this.#unicast, false) || !this.#readTable(command, this.#multicast, true))
      return false
    if (command.remaining !== 0) return false
    const { unicast, multicast } = this.#filter
    this.#filter.unicast = this.#unicast
    this.#filter.multicast = this.#multicast
    this.#unicast = unicast
    this.#multicast = multicast
    return true
  }

  #readTable(command: Reader, table: AddressTable, groups: boolean): boolean {
    table.clear()
    if (command.remaining < 4) return false
    const count = command.u32()
    if (count * ADDRESS_BYTES > command.remaining) return false
    for (let i = 0; i < count; i++) {
      command.read(this.#address)
      if (isGroup(this.#address) !== groups) return false
      table.add(addressNumber(this.#address))
    }
    return true
  }

  /** @virtio 5.1.6.5.2 */
  #setAddress(number: number, command: Reader): boolean {
    if (number !== CtrlMac.ADDR_SET || !this.#has(NetFeature.CTRL_MAC_ADDR)) return false
    if (command.remaining !== ADDRESS_BYTES) return false
    command.read(this.#address)
    return isStation(this.#address) && this.#target.setAddress(this.#address)
  }

  /** @virtio 5.1.6.5.3 */
  #setVlan(number: number, command: Reader): boolean {
    if (!this.#has(NetFeature.CTRL_VLAN) || command.remaining !== 2) return false
    const id = command.u16()
    if (id >= MAX_VLANS || (number !== CtrlVlan.ADD && number !== CtrlVlan.DEL)) return false
    this.#filter.setVlan(id, number === CtrlVlan.ADD)
    return true
  }

  /** Sets the offloads. Bits of the argument are feature bits; only negotiated ones may be set. @virtio 5.1.6.5.8 */
  #setOffloads(number: number, command: Reader): boolean {
    if (!this.#has(NetFeature.CTRL_GUEST_OFFLOADS) || number !== CtrlGuestOffloads.SET) return false
    if (command.remaining !== 8) return false
    let low = command.u32()
    let high = command.u32()
    let offloads = 0
    for (const [feature, offload] of GUEST_OFFLOADS) {
      const mask = (1 << (feature & 31)) >>> 0
      if (((feature < 32 ? low : high) & mask) === 0) continue
      if (!this.#has(feature)) return false
      offloads |= offload
      if (feature < 32) low &= ~mask
      else high &= ~mask
    }
    if (low !== 0 || high !== 0) return false
    if (offloads !== 0 && (offloads & Offload.CSUM) === 0) return false
    return this.#target.setReceiveOffloads(offloads)
  }
}
