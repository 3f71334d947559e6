import type { SpanList } from '../memory/span-list.ts'

/** What one side may leave undone in a packet, for the other side to do. */
export const Offload = {
  /** The checksum is that of the pseudo header only; the packet's header says where it starts and where it goes. */
  CSUM: 1,
  /** A TCP segment longer than the link's MTU, over IPv4 or IPv6; ECN: also with congestion marks. */
  TSO4: 2,
  TSO6: 4,
  ECN: 8,
  /** A UDP datagram to be cut into IP fragments. */
  UFO: 16,
  /** Several UDP datagrams of one size in one packet. */
  USO4: 32,
  USO6: 64,
} as const

/**
 * What a network device needs from its host: a cable to plug in.
 *
 * A packet is a list of spans: the first is its 12-byte header (`protocol.ts`), alone, in memory of the device; the Ethernet
 * frame follows, without a checksum of its own. The list belongs to the device and is valid during the call only.
 *
 * Nothing here throws because of a packet. What cannot be sent is dropped and counted by the port, as cables do.
 */
export interface NetworkPort {
  /** Queue pairs that can carry packets at the same time, at least 1. */
  readonly pairs: number
  /** Largest payload of a frame in bytes, where the network has one; it does not change. */
  readonly mtu: number | undefined
  /** In Mbit/s, where it is known. */
  readonly speed: number | undefined
  /** `Offload`s that packets to send may ask of the port, and those it can leave to the receiver. */
  readonly transmitOffloads: number
  readonly receiveOffloads: number
  /** Whether somebody is at the other end. */
  readonly linkUp: boolean
  /** The device that uses it; called once, before anything else. */
  attach(listener: PortListener): void
  /** Only the first `count` pairs are used from now on: the others receive nothing. @returns whether it is so */
  setPairs(count: number): boolean
  /** Packets that come in may leave this undone from now on, and nothing else. @returns whether it is so */
  setReceiveOffloads(offloads: number): boolean
  /**
   * Sends a packet.
   * @returns false where it has to wait: it was not taken, and `PortListener.writable` tells when to try again
   */
  transmit(pair: number, packet: SpanList): boolean
  /**
   * Fills a packet with the next one that came, header first.
   * @param packet at least as long as the longest packet
   * @returns its bytes, header included; 0 where there is none
   */
  receive(pair: number, packet: SpanList): number
  /** `PortListener.readable` is to be told, once and not within this call, when there is a packet. */
  expect(pair: number): void
  close(): void
  /** State worth seeing while debugging, as plain JSON values. */
  inspect?(): Record<string, unknown>
}

/** Who uses a port. */
export interface PortListener {
  /** Told only after `expect`. */
  readable(pair: number): void
  /** Told only after `transmit` returned false. */
  writable(pair: number): void
  /** `linkUp` is another. */
  linkChanged(): void
}
