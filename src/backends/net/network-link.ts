import type { SpanList } from '../../memory/span-list.ts'
import type { NetworkPort, PortListener } from '../../services/network-port.ts'
import { HEADER_BYTES, MAX_FRAME_BYTES } from '../../services/packet.ts'
import { ByteRing } from './byte-ring.ts'

/** Bytes on their way in one direction of one pair: several packets of the largest size. */
const CAPACITY = 4 * (HEADER_BYTES + MAX_FRAME_BYTES + 4)

export interface NetworkLinkOptions {
  readonly pairs?: number
  readonly mtu?: number
  /**
   * `Offload`s that packets may use. @default 0. A link does not finish packets: a device drops what its
   * driver did not agree to, so name only what the drivers at both ends do.
   */
  readonly offloads?: number
}

/**
 * A cable between two network devices, of which each has one end as its port: a network of two guests, or of a guest and
 * a test.
 *
 * What does not fit waits at the sender. Each pair of the one end leads to the same pair of the other.
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
  /** What came in, of each pair. */
  readonly #arrived: readonly ByteRing[]
  /** Pairs whose device waits for a packet, or for room at the other end. */
  readonly #wantsPacket: boolean[]
  readonly #wantsRoom: boolean[]
  #scheduled = false
  readonly #tell = () => {
    this.#scheduled = false
    for (let pair = 0; pair < this.pairs; pair++) {
      if (this.#wantsPacket[pair] && !this.#arrived[pair].empty) {
        this.#wantsPacket[pair] = false
        this.#listener?.readable(pair)
      }
      // The other end takes its packets until it has none.
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

  /** The cable is gone, and what was on its way. */
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
    queueMicrotask(this.#tell)
  }
}
