import type { SpanList } from '../../memory/span-list.ts'
import type { NetworkPort, PortListener } from '../../services/network-port.ts'
import { HEADER_BYTES, MAX_FRAME_BYTES } from '../../services/packet.ts'
import { ByteRing } from './byte-ring.ts'

/** Bytes that one direction of one pair can hold: several packets of the largest size. */
const CAPACITY = 4 * (HEADER_BYTES + MAX_FRAME_BYTES + 4)

export interface NetworkLinkOptions {
  /** Number of queue pairs. @default 1 */
  readonly pairs?: number
  /** Largest payload of a frame in bytes. @default no limit */
  readonly mtu?: number
  /**
   * `Offload`s that packets may use. A link does not segment packets or fill in checksums, and a device drops packets
   * with offloads that its driver did not negotiate: set only those that the drivers at both ends support. @default 0
   */
  readonly offloads?: number
}

/**
 * Creates a virtual cable between two network devices, and returns the port for each device. It connects two guests, or
 * a guest and a test.
 *
 * A packet that does not fit waits at the sender. Each pair of one end is connected to the same pair of the other end.
 */
export function createNetworkLink(options: NetworkLinkOptions = {}): readonly [NetworkPort, NetworkPort] {
  return LinkEnd.pair(options)
}

class LinkEnd implements NetworkPort {
  readonly pairs: number
  readonly mtu: number | undefined
  readonly speed = undefined
  readonly transmitOffloads: number
  readonly receiveOffloads: number
  linkUp = true
  #other: LinkEnd = this
  #listener: PortListener | undefined
  /** Packets that wait for this end's device, by pair. */
  readonly #arrived: readonly ByteRing[]
  /** True for pairs whose device waits for a packet, or for room at the other end. */
  readonly #wantsPacket: boolean[]
  readonly #wantsRoom: boolean[]
  #scheduled = false
  readonly #notify = () => {
    this.#scheduled = false
    for (let pair = 0; pair < this.pairs; pair++) {
      if (this.#wantsPacket[pair] && !this.#arrived[pair].empty) {
        this.#wantsPacket[pair] = false
        this.#listener?.readable(pair)
      }
      // The other end takes packets until none is left, so this becomes true.
      if (this.#wantsRoom[pair] && this.#other.#arrived[pair].empty) {
        this.#wantsRoom[pair] = false
        this.#listener?.writable(pair)
      }
    }
  }

  static pair(options: NetworkLinkOptions): readonly [LinkEnd, LinkEnd] {
    const left = new LinkEnd(options)
    const right = new LinkEnd(options)
    left.#other = right
    right.#other = left
    return [left, right]
  }

  private constructor(options: NetworkLinkOptions) {
    const { pairs = 1, mtu, offloads = 0 } = options
    this.pairs = pairs
    this.mtu = mtu
    this.transmitOffloads = offloads
    this.receiveOffloads = offloads
    this.#arrived = Array.from({ length: pairs }, () => new ByteRing(CAPACITY))
    this.#wantsPacket = new Array(pairs).fill(false)
    this.#wantsRoom = new Array(pairs).fill(false)
  }

  attach(listener: PortListener): void {
    this.#listener = listener
  }

  setPairs(): boolean {
    return true
  }

  setReceiveOffloads(): boolean {
    return true
  }

  transmit(pair: number, packet: SpanList): boolean {
    if (!this.linkUp) return true
    const taken = this.#other.#arrived[pair].write(packet)
    if (!taken) this.#wantsRoom[pair] = true
    else if (this.#other.#wantsPacket[pair]) this.#other.#schedule()
    return taken
  }

  receive(pair: number, packet: SpanList): number {
    const length = this.#arrived[pair].read(packet)
    if (this.#arrived[pair].empty && this.#other.#wantsRoom[pair]) this.#other.#schedule()
    return length
  }

  expect(pair: number): void {
    this.#wantsPacket[pair] = true
    if (!this.#arrived[pair].empty) this.#schedule()
  }

  /** Takes the link of both ends down, and drops all waiting packets. */
  close(): void {
    for (const end of [this, this.#other]) {
      if (!end.linkUp) continue
      end.linkUp = false
      for (const ring of end.#arrived) ring.clear()
      end.#listener?.linkChanged()
    }
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(this.#notify)
  }
}
