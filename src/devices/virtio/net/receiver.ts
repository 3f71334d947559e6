import type { GuestMemory } from '../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import type { NetworkPort } from '../../../services/network-port.ts'
import {
  ETHERNET_BYTES,
  GsoType,
  HEADER_BYTES,
  HEADER_GSO_TYPE,
  HEADER_NUM_BUFFERS,
  HeaderFlag,
  MAX_FRAME_BYTES,
  VLAN_TAG_BYTES,
} from '../../../services/packet.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import { checkHeader, type HeaderFault, setHeaderNumber } from './packet-header.ts'
import { FILTER_BYTES, isTagged, type ReceiveFilter } from './receive-filter.ts'

/** Maximum number of packets in one call: filtered ones need no buffers, so buffers do not bound them. */
const MAX_AT_ONCE = 256
/** Maximum spans of one buffer. With `ENOUGH_SPANS`, no packet has more than 1024 spans, the limit of readv(2). */
const MAX_BUFFER_SPANS = 500
/** Buffers are added for one packet until they have this number of spans. */
const ENOUGH_SPANS = 512
const FLAGS = HeaderFlag.NEEDS_CSUM | HeaderFlag.DATA_VALID

/** Negotiated properties of the received packets of a session. */
export interface ReceiveRules {
  /** Length of the header in the driver's buffers, in bytes. */
  readonly headerBytes: number
  /** True if a packet may use several buffers (MRG_RXBUF). */
  readonly mergeable: boolean
  /** Largest payload of a frame without segmentation offload; undefined without the MTU feature. */
  readonly mtu: number | undefined
  /** `Offload`s that packets may leave to the driver. Control commands change them. */
  offloads: number
}

/** Counters since the device was created. */
export interface ReceiveCounters {
  packets: number
  bytes: number
  /** Packets that used several buffers. */
  merged: number
  /** Frames that the receive filter dropped. */
  filtered: number
  /** Frames shorter than an Ethernet header, or longer than the MTU. */
  badLength: number
  /** Packets whose header is invalid or uses an offload that was not negotiated. */
  badHeader: number
  /** Packets that are too long for one buffer, or for all buffers of a full queue if packets can be merged. */
  noRoom: number
  /** Times a packet had to wait for buffers. */
  starved: number
  /** Buffers that are shorter than a header, or have too many spans. */
  badBuffers: number
}

/**
 * Receive queue: places packets of the port in the driver's buffers, without a copy.
 *
 * The port writes to the buffers themselves. The length of the next packet is unknown, so a tail in host memory follows
 * them. Only bytes that overflow into the tail are copied, to additional buffers:
 *
 *     packet   | header | buffer | buffer | tail                                    |
 *     filled   |========|========|========|======|
 *
 * Buffers that a packet does not use are kept for the next one. The header contains the number of buffers used, so it
 * is written last.
 */
export class Receiver {
  readonly #counters: ReceiveCounters
  readonly #filter: ReceiveFilter
  readonly #header = MemoryRegion.over(0, new Uint8Array(HEADER_BYTES))
  readonly #tail = MemoryRegion.over(0, new Uint8Array((MAX_FRAME_BYTES + 3) & ~3))
  readonly #packet = new SpanList(32)
  readonly #start = new Uint8Array(FILTER_BYTES)
  #queue: DeviceQueue | undefined
  #memory: GuestMemory | undefined
  #rules: ReceiveRules = { headerBytes: HEADER_BYTES, mergeable: false, mtu: undefined, offloads: 0 }
  /** Chains popped and not pushed, oldest first, and their bytes and spans. */
  readonly #held: Chain[] = []
  #room = 0
  #spans = 0
  /** True if `#packet` consists of exactly the chains in `#held`. */
  #built = false
  /** Length of the frame that waits for more buffers, or 0; its bytes in the tail, and the number of them copied. */
  #waiting = 0
  #overflow = 0
  #copied = 0
  #busy = false
  #lastFault: HeaderFault | undefined

  constructor(counters: ReceiveCounters, filter: ReceiveFilter) {
    this.#counters = counters
    this.#filter = filter
  }

  /** Sets the driver's queue, which can change on a queue reset. */
  use(queue: DeviceQueue, memory: GuestMemory, rules: ReceiveRules): void {
    if (queue === this.#queue) return
    this.#forget()
    this.#queue = queue
    this.#memory = memory
    this.#rules = rules
  }

  /** Receives packets of a port's pair, until packets or buffers run out, or the limit of one call is reached. */
  drain(port: NetworkPort, pair: number): void {
    const queue = this.#queue
    if (!queue || this.#busy) return
    this.#busy = true
    let left = MAX_AT_ONCE
    while (left > 0 && this.#ready(queue)) {
      const length = port.receive(pair, this.#packet)
      if (length > 0) this.#take(queue, length - HEADER_BYTES)
      left = length > 0 ? left - 1 : 0
    }
    this.#busy = false
    queue.publish()
    // If buffers are missing, the next event is a notification of the driver.
    if (left === 0) port.expect(pair)
  }

  /** Returns all held buffers unused, and drops the packet that waits for more. */
  release(): void {
    const queue = this.#queue
    if (!queue) return
    for (let chain = this.#held.pop(); chain; chain = this.#held.pop()) if (!queue.unpop(chain)) queue.push(chain, 0)
    queue.publish()
    this.#forget()
    this.#queue = undefined
  }

  inspect(): Record<string, unknown> {
    return { held: this.#held.length, waiting: this.#waiting, lastFault: this.#lastFault }
  }

  #forget(): void {
    this.#held.length = 0
    this.#room = 0
    this.#spans = 0
    this.#built = false
    this.#waiting = 0
  }

  /** Prepares `#packet` for the next packet. @returns false if the driver must add buffers first */
  #ready(queue: DeviceQueue): boolean {
    if (this.#waiting > 0 && !this.#spill(queue)) return false
    // Only a packet that must be segmented is longer than one buffer, unless the driver's buffers are too short.
    const room = this.#rules.mergeable && this.#rules.offloads !== 0 ? HEADER_BYTES + MAX_FRAME_BYTES : 1
    while (this.#room < room && this.#spans < ENOUGH_SPANS) if (!this.#hold(queue)) break
    if (this.#held.length === 0) return false
    if (!this.#built) this.#build()
    return true
  }

  /** Pops one more valid buffer and adds it to `#held`. @returns undefined if there is none */
  #hold(queue: DeviceQueue): Chain | undefined {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const spans = chain.spans.count - chain.readableSpans
      // @virtio 5.1.6.3.1
      if (chain.writableLength >= this.#rules.headerBytes && spans <= MAX_BUFFER_SPANS) {
        this.#held.push(chain)
        this.#room += chain.writableLength
        this.#spans += spans
        this.#built = false
        return chain
      }
      this.#counters.badBuffers++
      queue.push(chain, 0)
    }
    return undefined
  }

  #build(): void {
    const packet = this.#packet
    packet.clear()
    packet.add(this.#header, 0, HEADER_BYTES)
    let skip = this.#rules.headerBytes
    for (const { spans, readableSpans } of this.#held) {
      for (let i = readableSpans; i < spans.count; i++) {
        const pass = Math.min(skip, spans.lengths[i])
        skip -= pass
        if (pass < spans.lengths[i]) packet.add(spans.regions[i], spans.offsets[i] + pass, spans.lengths[i] - pass)
      }
    }
    packet.add(this.#tail, 0, MAX_FRAME_BYTES)
    this.#built = true
  }

  /** Handles the frame in `#packet`: delivers it, keeps it until there are more buffers, or drops it. */
  #take(queue: DeviceQueue, length: number): void {
    const overflow = length + this.#rules.headerBytes - this.#room
    if (!this.#accepts(length)) {
      this.#reportWrites()
    } else if (overflow <= 0) {
      this.#give(queue, length)
    } else if (this.#rules.mergeable) {
      this.#waiting = length
      this.#overflow = overflow
      this.#copied = 0
      if (!this.#spill(queue)) this.#counters.starved++
    } else {
      this.#counters.noRoom++
      this.#reportWrites()
    }
  }

  #accepts(length: number): boolean {
    const counters = this.#counters
    if (length < ETHERNET_BYTES || length > MAX_FRAME_BYTES) {
      counters.badLength++
      return false
    }
    this.#readStart(length)
    if (!this.#filter.accepts(this.#start)) {
      counters.filtered++
      return false
    }
    const header = this.#header.u8
    const fault = checkHeader(header, length, this.#rules.offloads, FLAGS)
    if (fault !== undefined) {
      this.#lastFault = fault
      counters.badHeader++
      return false
    }
    const { mtu } = this.#rules
    if (mtu === undefined || header[HEADER_GSO_TYPE] !== GsoType.NONE) return true
    // @virtio 5.1.4.1
    const fits = length <= ETHERNET_BYTES + mtu + (isTagged(this.#start) ? VLAN_TAG_BYTES : 0)
    if (!fits) counters.badLength++
    return fits
  }

  /** Copies the bytes that the filter reads. They can lie in several spans. */
  #readStart(length: number): void {
    const { count, lengths, offsets, regions } = this.#packet
    const start = this.#start
    const most = Math.min(FILTER_BYTES, length)
    start.fill(0)
    let done = 0
    for (let i = 1; i < count && done < most; i++) {
      const bytes = regions[i].u8
      for (let at = 0; at < lengths[i] && done < most; at++) start[done++] = bytes[offsets[i] + at]
    }
  }

  /** Copies the bytes in the tail to additional buffers. @returns false if the driver must add buffers first */
  #spill(queue: DeviceQueue): boolean {
    while (this.#copied < this.#overflow) {
      const chain = this.#hold(queue)
      if (chain) {
        this.#copied += chain.writer.write(this.#tail.u8, this.#copied, this.#overflow - this.#copied)
        continue
      }
      if (this.#spans < queue.size) return false
      // All descriptors of the queue are in use: the driver cannot add buffers.
      this.#counters.noRoom++
      this.#waiting = 0
      this.#reportWrites()
      return true
    }
    this.#give(queue, this.#waiting)
    this.#waiting = 0
    return true
  }

  /** Delivers the frame in the held buffers: returns those that it uses. */
  #give(queue: DeviceQueue, length: number): void {
    const held = this.#held
    const header = this.#header.u8
    const { headerBytes } = this.#rules
    const total = length + headerBytes
    let buffers = 0
    for (let room = 0; room < total; buffers++) room += held[buffers].writableLength
    setHeaderNumber(header, HEADER_NUM_BUFFERS, buffers)
    const [{ spans, readableSpans, writableLength, writer }] = held
    // A packet that was dropped may have moved the writer.
    writer.rewind(readableSpans, spans.count, writableLength)
    writer.write(header, 0, headerBytes)
    for (let left = total; left > 0; ) {
      const chain = held.shift() as Chain
      const take = Math.min(left, chain.writableLength)
      left -= take
      this.#room -= chain.writableLength
      this.#spans -= chain.spans.count - chain.readableSpans
      queue.push(chain, take)
    }
    this.#built = false
    this.#counters.packets++
    this.#counters.bytes += length
    if (buffers > 1) this.#counters.merged++
  }

  /** Reports the held buffers as written memory, because a dropped packet was written to them. */
  #reportWrites(): void {
    for (const { spans, readableSpans } of this.#held) {
      for (let i = readableSpans; i < spans.count; i++) {
        this.#memory?.wrote(spans.regions[i], spans.offsets[i], spans.lengths[i])
      }
    }
  }
}
