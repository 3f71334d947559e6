import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import type { NetworkPort } from '../../../services/network-port.ts'
import {
  ETHERNET_BYTES,
  GsoType,
  HEADER_BYTES,
  HEADER_GSO_TYPE,
  HeaderFlag,
  MAX_FRAME_BYTES,
  VLAN_TAG_BYTES,
  VLAN_TYPE,
} from '../../../services/packet.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import { checkHeader, type HeaderFault } from './packet-header.ts'

/** Spans of one packet, its header among them: as many as a system call takes. */
const MAX_SPANS = 1024
/** Where in a frame its type is. */
const TYPE_OFFSET = 12

/** What packets of one session may look like. */
export interface TransmitRules {
  /** Bytes of the header in the driver's buffers. */
  readonly headerBytes: number
  /** `Offload`s the driver may leave undone. */
  readonly offloads: number
  /** Largest payload of a frame without segmentation offload; undefined without the MTU feature. */
  readonly mtu: number | undefined
}

/** Counts since the device was made. */
export interface TransmitCounters {
  packets: number
  bytes: number
  /** Packets without a whole header, or with a frame that is too short, too long or in too many pieces. */
  badLength: number
  /** Packets whose header claims what is not so, or was not agreed. */
  badHeader: number
  /** Packets sent while the link was down. */
  linkDown: number
  /** Times a packet had to wait for the port. */
  waits: number
}

/**
 * One transmit queue: the driver's packets, sent from where they lie.
 *
 * Only the header is copied, because the driver could change it after it was checked.
 */
export class Transmitter {
  readonly #counters: TransmitCounters
  readonly #header = MemoryRegion.over(0, new Uint8Array(HEADER_BYTES))
  readonly #packet = new SpanList(32)
  #queue: DeviceQueue | undefined
  #rules: TransmitRules = { headerBytes: HEADER_BYTES, offloads: 0, mtu: undefined }
  /** The packet, in `#packet` already, that waits for the port. */
  #waiting: Chain | undefined
  #busy = false
  #lastFault: HeaderFault | undefined

  constructor(counters: TransmitCounters) {
    this.#counters = counters
  }

  /** A driver's queue, which may be another one after a queue reset. */
  use(queue: DeviceQueue, rules: TransmitRules): void {
    if (queue === this.#queue) return
    this.#queue = queue
    this.#rules = rules
    this.#waiting = undefined
  }

  /** Sends what the driver made available, until the port takes no more. */
  drain(port: NetworkPort, pair: number, linkUp: boolean): void {
    const queue = this.#queue
    if (!queue || this.#busy) return
    this.#busy = true
    for (let chain = this.#next(queue, linkUp); chain; chain = this.#next(queue, linkUp)) {
      if (!port.transmit(pair, this.#packet)) {
        if (this.#waiting !== chain) this.#counters.waits++
        this.#waiting = chain
        break
      }
      this.#waiting = undefined
      this.#counters.packets++
      this.#counters.bytes += chain.readableLength - this.#rules.headerBytes
      queue.push(chain, 0)
    }
    this.#busy = false
    queue.publish()
  }

  /** Gives up the packet that waits, unsent. */
  release(): void {
    const queue = this.#queue
    if (queue && this.#waiting && !queue.unpop(this.#waiting)) {
      queue.push(this.#waiting, 0)
      queue.publish()
    }
    this.#waiting = undefined
    this.#queue = undefined
  }

  inspect(): Record<string, unknown> {
    return { waiting: this.#waiting !== undefined, lastFault: this.#lastFault }
  }

  /** The next packet that can be sent, now in `#packet`; those that cannot go back to the driver. */
  #next(queue: DeviceQueue, linkUp: boolean): Chain | undefined {
    for (let chain = this.#waiting ?? queue.pop(); chain; chain = queue.pop()) {
      if (!linkUp) this.#counters.linkDown++
      else if (chain === this.#waiting || this.#prepare(chain)) return chain
      this.#waiting = undefined
      queue.push(chain, 0)
    }
    return undefined
  }

  /** Writable parts, which a driver must not send, cost nothing and are passed over. */
  #prepare(chain: Chain): boolean {
    const counters = this.#counters
    const { headerBytes } = this.#rules
    const length = chain.readableLength - headerBytes
    if (length < ETHERNET_BYTES || length > MAX_FRAME_BYTES || chain.readableSpans >= MAX_SPANS) {
      counters.badLength++
      return false
    }
    const header = this.#header.u8
    chain.reader.read(header, 0, headerBytes)
    const fault = checkHeader(header, length, this.#rules.offloads, HeaderFlag.NEEDS_CSUM)
    if (fault !== undefined) {
      this.#lastFault = fault
      counters.badHeader++
      return false
    }
    if (header[HEADER_GSO_TYPE] === GsoType.NONE && !this.#fits(chain, length)) {
      counters.badLength++
      return false
    }
    this.#build(chain)
    return true
  }

  /** @virtio 5.1.4.2 */
  #fits(chain: Chain, length: number): boolean {
    const { mtu } = this.#rules
    if (mtu === undefined || length <= ETHERNET_BYTES + mtu) return true
    chain.reader.skip(TYPE_OFFSET)
    const tagged = chain.reader.u8() * 256 + chain.reader.u8() === VLAN_TYPE
    return tagged && length <= ETHERNET_BYTES + VLAN_TAG_BYTES + mtu
  }

  #build(chain: Chain): void {
    const packet = this.#packet
    const { lengths, offsets, regions } = chain.spans
    packet.clear()
    packet.add(this.#header, 0, HEADER_BYTES)
    let skip = this.#rules.headerBytes
    for (let i = 0; i < chain.readableSpans; i++) {
      const pass = Math.min(skip, lengths[i])
      skip -= pass
      if (pass < lengths[i]) packet.merge(regions[i], offsets[i] + pass, lengths[i] - pass)
    }
  }
}
