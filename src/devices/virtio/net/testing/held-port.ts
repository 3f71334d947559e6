import type { SpanList } from '../../../../memory/span-list.ts'
import type { NetworkPort, PortListener } from '../../../../services/network-port.ts'
import { HEADER_BYTES } from '../../../../services/packet.ts'

export interface Packet {
  readonly header: Uint8Array
  readonly frame: Uint8Array
}

/** Port for tests: keeps transmitted packets, returns given ones, and can be full, down or refuse settings. */
export class HeldPort implements NetworkPort {
  readonly pairs: number
  readonly mtu: number | undefined
  readonly speed: number | undefined
  readonly transmitOffloads: number
  readonly receiveOffloads: number
  linkUp = true
  /** Transmitted packets, with their pairs. */
  readonly sent: (Packet & { readonly pair: number })[] = []
  /** Number of packets that the port takes before it is full. */
  room = Number.POSITIVE_INFINITY
  /** True if the port refuses every change of settings. */
  unwilling = false
  /** Last settings. */
  usedPairs: number | undefined
  offloadsInUse: number | undefined
  listener: PortListener | undefined
  /** Number of `receive` calls. */
  asked = 0
  readonly #arrived: Packet[][]
  readonly #expected: boolean[]

  constructor(options: Partial<Pick<NetworkPort, 'pairs' | 'mtu' | 'speed'>> & { readonly offloads?: number } = {}) {
    const { pairs = 1, mtu, speed, offloads = 0 } = options
    this.pairs = pairs
    this.mtu = mtu
    this.speed = speed
    this.transmitOffloads = offloads
    this.receiveOffloads = offloads
    this.#arrived = Array.from({ length: pairs }, () => [])
    this.#expected = new Array(pairs).fill(false)
  }

  attach(listener: PortListener): void {
    this.listener = listener
  }

  setPairs(count: number): boolean {
    if (!this.unwilling) this.usedPairs = count
    return !this.unwilling
  }

  setReceiveOffloads(offloads: number): boolean {
    if (!this.unwilling) this.offloadsInUse = offloads
    return !this.unwilling
  }

  transmit(pair: number, packet: SpanList): boolean {
    if (this.room === 0) return false
    this.room--
    const bytes = gather(packet)
    this.sent.push({ pair, header: bytes.slice(0, HEADER_BYTES), frame: bytes.slice(HEADER_BYTES) })
    return true
  }

  receive(pair: number, packet: SpanList): number {
    this.asked++
    const next = this.#arrived[pair].shift()
    if (!next) return 0
    scatter(packet, Uint8Array.of(...next.header, ...next.frame))
    return HEADER_BYTES + next.frame.length
  }

  expect(pair: number): void {
    this.#expected[pair] = true
  }

  close(): void {}

  /** Adds a packet for the device. */
  arrive(frame: Uint8Array, header: Uint8Array = new Uint8Array(HEADER_BYTES), pair = 0): void {
    this.#arrived[pair].push({ header, frame })
    this.tell(pair)
  }

  /** Notifies the device of a packet, if it called `expect`. @returns true if it did */
  tell(pair = 0): boolean {
    if (!this.#expected[pair]) return false
    this.#expected[pair] = false
    this.listener?.readable(pair)
    return true
  }

  /** Number of packets that the device has not received yet. */
  waiting(pair = 0): number {
    return this.#arrived[pair].length
  }

  setLink(up: boolean): void {
    this.linkUp = up
    this.listener?.linkChanged()
  }
}

function gather({ count, regions, offsets, lengths }: SpanList): Uint8Array {
  const parts = Array.from({ length: count }, (_, i) => regions[i].u8.subarray(offsets[i], offsets[i] + lengths[i]))
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

function scatter({ count, regions, offsets, lengths }: SpanList, bytes: Uint8Array): void {
  let at = 0
  for (let i = 0; i < count && at < bytes.length; i++) {
    const part = bytes.subarray(at, at + lengths[i])
    regions[i].u8.set(part, offsets[i])
    at += part.length
  }
}
