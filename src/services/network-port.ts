import type { SpanList } from '../memory/span-list.ts'

/** Offload: work on a packet that one side leaves to the other. */
export const Offload = {
  /** The checksum covers the pseudo header only; the packet's header has its start and its place. */
  CSUM: 1,
  /** A TCP segment longer than the MTU of the link, over IPv4 or IPv6. ECN: also with congestion marks. */
  TSO4: 2,
  TSO6: 4,
  ECN: 8,
  /** A UDP datagram that must be cut into IP fragments. */
  UFO: 16,
  /** Several UDP datagrams of one size in one packet. */
  USO4: 32,
  USO6: 64,
} as const

/**
 * Network port: connects a network device to a network.
 *
 * A packet is a list of spans: the first one is its 12-byte header (`packet.ts`), alone, in memory of the device; the
 * Ethernet frame follows, without its frame check sequence. The list belongs to the device and is valid during the call
 * only.
 *
 * Nothing here throws because of a packet. A packet that cannot be sent is dropped, and counted by the port.
 */
export interface NetworkPort {
  /** Number of queue pairs, at least 1. */
  readonly pairs: number
  /** Largest payload of a frame in bytes; undefined if the network has no limit. Constant. */
  readonly mtu: number | undefined
  /** Speed of the link in Mbit/s, if known. */
  readonly speed: number | undefined
  /**
   * Set of `Offload`s that the port performs on transmitted packets, and that it may leave to the driver on received
   * ones.
   */
  readonly transmitOffloads: number
  readonly receiveOffloads: number
  /** True if the link is up. */
  readonly linkUp: boolean
  /** Connects the device. Called once, before anything else. */
  attach(listener: PortListener): void
  /** Uses only the first `count` pairs: the others receive nothing. @returns false if the port cannot */
  setPairs(count: number): boolean
  /** Sets the `Offload`s that received packets may leave to the driver. @returns false if the port cannot */
  setReceiveOffloads(offloads: number): boolean
  /**
   * Sends a packet.
   * @returns false if the port has no room: the packet was not taken, and `PortListener.writable` is called when there
   *   is room
   */
  transmit(pair: number, packet: SpanList): boolean
  /**
   * Copies the next received packet, header first.
   * @param packet spans of at least the length of the longest packet
   * @returns length in bytes, header included; 0 if there is no packet
   */
  receive(pair: number, packet: SpanList): number
  /** Requests one call of `PortListener.readable` when there is a packet, not within this call. */
  expect(pair: number): void
  close(): void
  /** State for debugging, as plain JSON values. */
  inspect?(): Record<string, unknown>
}

/** User of a port: a network device. */
export interface PortListener {
  /** A packet was received. Called once after each `expect`. */
  readable(pair: number): void
  /** There is room. Called once after `transmit` returned false. */
  writable(pair: number): void
  /** `linkUp` changed. */
  linkChanged(): void
}
