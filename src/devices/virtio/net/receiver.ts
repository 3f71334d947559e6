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
/** Spans of one buffer: one cut finer is refused. Together with those below, no packet has more than 1024. */
const MAX_BUFFER_SPANS = 500
/** While buffers for one packet have fewer spans than this, more may be added. */
const ENOUGH_SPANS = 512
const FLAGS = HeaderFlag.NEEDS_CSUM | HeaderFlag.DATA_VALID

/** What packets of one session look like. */
export interface ReceiveRules {
  /** Bytes of the header in the driver's buffers. */
  readonly headerBytes: number
  /** A packet may be spread over several buffers. */
  readonly mergeable: boolean
  /** Largest payload of a frame without segmentation offload; undefined without the MTU feature. */
  readonly mtu: number | undefined
  /** `Offload`s the driver deals with now. */
  offloads: number
}

/** Counts since the device was made. */
export interface ReceiveCounters {
  packets: number
  bytes: number
  /** Packets spread over several buffers. */
  merged: number
  /** Frames the driver does not want to see. */
  filtered: number
  /** Frames shorter than an Ethernet header, or longer than the MTU. */
  badLength: number
  /** Packets whose header asks of the driver what it did not agree to. */
  badHeader: number
  /** Packets too long for the buffers the driver can have in a queue. */
  noRoom: number
  /** Times a packet had to wait for buffers. */
  starved: number
  /** Buffers without room for a header, or in too many pieces. */
  badBuffers: number
}

/**
 * One receive queue: the driver's buffers, and packets put into them with no copy on the way.
 *
 * The port fills the buffers themselves. The length of the next packet is unknown, so a tail of our own stands
 * behind them, and only what overflows into it is copied, to the buffers it takes in addition:
 *
 *     packet   | header | buffer | buffer | tail                                    |
 *     filled   |========|========|========|======|
 *
 * Buffers are held from packet to packet until one takes them. The header, which says how many it took, is written last.
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
  /** Buffers taken from the queue and not given back, oldest first, and their bytes and spans. */
  readonly #held: Chain[] = []
  #room = 0
  #spans = 0
  /** `#packet` is made of exactly these buffers. */
  #built = false
  /** Length of a frame that waits for more buffers, or 0; its bytes in the tail, and how many of them were copied. */
  #waiting = 0
  #overflow = 0
  #copied = 0
  #busy = false
  #lastFault: HeaderFault | undefined

  constructor(counters: ReceiveCounters, filter: ReceiveFilter) {
    this.#counters = counters
    this.#filter = filter
  }

  /** A driver's queue, which may be another one after a queue reset. */
  use(queue: DeviceQueue, memory: GuestMemory, rules: ReceiveRules): void {
    if (queue === this.#queue) return
    this.#forget()
    this.#queue = queue
    this.#memory = memory
    this.#rules = rules
  }

  /** Takes packets from a pair of the port, until there are no more, no more buffers, or it was at it for long enough. */
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
    // Where buffers are missing, the driver is the one to be heard from next.
    if (left === 0) port.expect(pair)
  }

  /** Gives up the buffers that are held, unused, and loses the packet that waits for more. */
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

  /** Makes `#packet` ready for the next one. @returns false where the driver has to give more buffers first */
  #ready(queue: DeviceQueue): boolean {
    if (this.#waiting > 0 && !this.#spill(queue)) return false
    // Only a packet that is to be segmented is longer than one buffer, with drivers that mean well.
    const room = this.#rules.mergeable && this.#rules.offloads !== 0 ? HEADER_BYTES + MAX_FRAME_BYTES : 1
    while (this.#room < room && this.#spans < ENOUGH_SPANS) if (!this.#hold(queue)) break
    if (this.#held.length === 0) return false
    if (!this.#built) this.#build()
    return true
  }

  /** Takes one more buffer from the driver. @returns it, or undefined where there is none */
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

  /** A frame is in `#packet`: it goes to the driver, waits for more buffers, or is forgotten. */
  #take(queue: DeviceQueue, length: number): void {
    const overflow = length + this.#rules.headerBytes - this.#room
    if (!this.#wanted(length)) {
      this.#disown()
    } else if (overflow <= 0) {
      this.#give(queue, length)
    } else if (this.#rules.mergeable) {
      this.#waiting = length
      this.#overflow = overflow
      this.#copied = 0
      if (!this.#spill(queue)) this.#counters.starved++
    } else {
      this.#counters.noRoom++
      this.#disown()
    }
  }

  #wanted(length: number): boolean {
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

  /** Copies the bytes the filter looks at, which may lie in several spans. */
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

  /** Copies what overflowed to more buffers. @returns false where the driver has to give more of them first */
  #spill(queue: DeviceQueue): boolean {
    while (this.#copied < this.#overflow) {
      const chain = this.#hold(queue)
      if (chain) {
        this.#copied += chain.writer.write(this.#tail.u8, this.#copied, this.#overflow - this.#copied)
        continue
      }
      if (this.#spans < queue.size) return false
      // The driver has no more descriptors to give.
      this.#counters.noRoom++
      this.#waiting = 0
      this.#disown()
      return true
    }
    this.#give(queue, this.#waiting)
    this.#waiting = 0
    return true
  }

  /** The frame is in the buffers that are held: gives back as many as it took. */
  #give(queue: DeviceQueue, length: number): void {
    const held = this.#held
    const header = this.#header.u8
    const { headerBytes } = this.#rules
    const total = length + headerBytes
    let buffers = 0
    for (let room = 0; room < total; buffers++) room += held[buffers].writableLength
    setHeaderNumber(header, HEADER_NUM_BUFFERS, buffers)
    const [{ spans, readableSpans, writableLength, writer }] = held
    // It may have been moved by a packet that never came this far.
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

  /** What is in the buffers is no packet, but memory that was written all the same. */
  #disown(): void {
    for (const { spans, readableSpans } of this.#held) {
      for (let i = readableSpans; i < spans.count; i++) {
        this.#memory?.wrote(spans.regions[i], spans.offsets[i], spans.lengths[i])
      }
    }
  }
}
