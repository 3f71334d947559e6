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

/** Maximum spans of one packet, including its header: the limit of writev(2). */
const MAX_SPANS = 1024
/** Offset of the type in a frame. */
const TYPE_OFFSET = 12

/** Negotiated properties of the transmitted packets of a session. */
export interface TransmitRules {
  /** Length of the header in the driver's buffers, in bytes. */
  readonly headerBytes: number
  /** `Offload`s that packets may leave to the port. */
  readonly offloads: number
  /** Largest payload of a frame without segmentation offload; undefined without the MTU feature. */
  readonly mtu: number | undefined
}

/** Counters since the device was created. */
export interface TransmitCounters {
  packets: number
  bytes: number
  /** Packets without a whole header, or with a frame that is too short, too long or has too many spans. */
  badLength: number
  /** Packets whose header is invalid or uses an offload that was not negotiated. */
  badHeader: number
  /** Packets sent while the link was down. */
  linkDown: number
  /** Times a packet had to wait for the port. */
  waits: number
}

/**
 * Transmit queue: sends the driver's packets from guest memory, without a copy.
 *
 * Only the header is copied, because the driver could change it after the check.
 */
export class Transmitter {
  readonly #counters: TransmitCounters
  readonly #header = MemoryRegion.over(0, new Uint8Array(HEADER_BYTES))
  readonly #packet = new SpanList(32)
  #queue: DeviceQueue | undefined
  #rules: TransmitRules = { headerBytes: HEADER_BYTES, offloads: 0, mtu: undefined }
  /** Chain that waits for room in the port. `#packet` holds its spans. */
  #waiting: Chain | undefined
  #busy = false
  #lastFault: HeaderFault | undefined

  constructor(counters: TransmitCounters) {
    this.#counters = counters
  }

  /** Sets the driver's queue, which can change on a queue reset. */
  use(queue: DeviceQueue, rules: TransmitRules): void {
    if (queue === this.#queue) return
    this.#queue = queue
    this.#rules = rules
    this.#waiting = undefined
  }

  /** Sends available packets until the port has no room. */
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

  /** Returns the waiting packet unsent. */
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

  /** Returns the next valid packet, with its spans in `#packet`. Invalid ones are returned to the driver. */
  #next(queue: DeviceQueue, linkUp: boolean): Chain | undefined {
    for (let chain = this.#waiting ?? queue.pop(); chain; chain = queue.pop()) {
      if (!linkUp) this.#counters.linkDown++
      else if (chain === this.#waiting || this.#prepare(chain)) return chain
      this.#waiting = undefined
      queue.push(chain, 0)
    }
    return undefined
  }

  /** Checks a packet and fills `#packet`. Device-writable buffers, which a driver must not add, are ignored. */
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
