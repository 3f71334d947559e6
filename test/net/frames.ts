import { formatMacAddress } from '../../src/devices/virtio/net/mac-address.ts'

const IPV4 = 0x0800
const ARP = 0x0806
const UDP = 17
/** Offset of the payload in an Ethernet frame. */
const IP_OFFSET = 14
export const UDP_OFFSET = IP_OFFSET + 20
const UDP_BYTES = 8
/** Offset of the checksum in a UDP header. */
export const UDP_CHECKSUM = 6

export interface Station {
  readonly mac: string
  readonly ip: string
}

function addressBytes(ip: string): number[] {
  return ip.split('.').map(Number)
}

function macBytes(mac: string): number[] {
  return mac.split(':').map((byte) => Number.parseInt(byte, 16))
}

function typeOf(frame: Uint8Array): number {
  return (frame[12] << 8) | frame[13]
}

const ArpOperation = { REQUEST: 1, REPLY: 2 } as const

/** Returns an ARP request for an address. */
export function arpRequest(from: Station, wanted: string): Uint8Array {
  return arpFrame(from, 'ff:ff:ff:ff:ff:ff', ArpOperation.REQUEST, { mac: '00:00:00:00:00:00', ip: wanted })
}

/** Returns the answer to an ARP request. */
export function arpReply(from: Station, to: Station): Uint8Array {
  return arpFrame(from, to.mac, ArpOperation.REPLY, to)
}

function arpFrame(from: Station, to: string, operation: number, target: Station): Uint8Array {
  const mac = macBytes(from.mac)
  return Uint8Array.of(
    ...[...macBytes(to), ...mac, ARP >> 8, ARP & 0xff],
    ...[0, 1, IPV4 >> 8, IPV4 & 0xff, 6, 4, 0, operation, ...mac, ...addressBytes(from.ip)],
    ...[...macBytes(target.mac), ...addressBytes(target.ip)],
  )
}

/** Returns the sender of an ARP request; undefined for other frames. */
export function arpSender(frame: Uint8Array, wanted: string): Station | undefined {
  if (typeOf(frame) !== ARP || frame[21] !== ArpOperation.REQUEST) return undefined
  if ([...frame.subarray(38, 42)].join('.') !== wanted) return undefined
  return { mac: formatMacAddress(frame.subarray(22, 28)), ip: [...frame.subarray(28, 32)].join('.') }
}

/** Returns the MAC address in an ARP answer; undefined for other frames. */
export function arpAnswer(frame: Uint8Array, wanted: string): string | undefined {
  if (typeOf(frame) !== ARP || frame[21] !== ArpOperation.REPLY) return undefined
  const sender = [...frame.subarray(28, 32)].join('.')
  return sender === wanted ? formatMacAddress(frame.subarray(22, 28)) : undefined
}

/** Returns a UDP datagram with the checksum of only its pseudo header. */
export function udpFrame(from: Station, to: Station, fromPort: number, toPort: number, data: Uint8Array): Uint8Array {
  const frame = new Uint8Array(UDP_OFFSET + UDP_BYTES + data.length)
  const view = new DataView(frame.buffer)
  frame.set([...macBytes(to.mac), ...macBytes(from.mac), IPV4 >> 8, IPV4 & 0xff])
  view.setUint8(IP_OFFSET, 0x45)
  view.setUint16(IP_OFFSET + 2, frame.length - IP_OFFSET)
  view.setUint8(IP_OFFSET + 8, 64)
  view.setUint8(IP_OFFSET + 9, UDP)
  frame.set([...addressBytes(from.ip), ...addressBytes(to.ip)], IP_OFFSET + 12)
  view.setUint16(IP_OFFSET + 10, ~sum(frame, IP_OFFSET, UDP_OFFSET) & 0xffff)
  view.setUint16(UDP_OFFSET, fromPort)
  view.setUint16(UDP_OFFSET + 2, toPort)
  view.setUint16(UDP_OFFSET + 4, UDP_BYTES + data.length)
  view.setUint16(UDP_OFFSET + UDP_CHECKSUM, pseudoHeaderSum(frame))
  frame.set(data, UDP_OFFSET + UDP_BYTES)
  return frame
}

/** Returns the payload of a UDP datagram to a port. */
export function udpData(frame: Uint8Array, toPort: number): Uint8Array | undefined {
  if (typeOf(frame) !== IPV4 || frame[IP_OFFSET + 9] !== UDP) return undefined
  const view = new DataView(frame.buffer, frame.byteOffset)
  if (view.getUint16(UDP_OFFSET + 2) !== toPort) return undefined
  return frame.subarray(UDP_OFFSET + UDP_BYTES, UDP_OFFSET + view.getUint16(UDP_OFFSET + 4))
}

/** Returns the source of a UDP datagram. */
export function udpSource(frame: Uint8Array): { station: Station; port: number } {
  const ip = [...frame.subarray(IP_OFFSET + 12, IP_OFFSET + 16)].join('.')
  return {
    station: { mac: formatMacAddress(frame.subarray(6, 12)), ip },
    port: (frame[UDP_OFFSET] << 8) | frame[UDP_OFFSET + 1],
  }
}

/** True if the checksum of a UDP datagram is complete and correct. */
export function udpChecksumGood(frame: Uint8Array): boolean {
  return fold(pseudoHeaderSum(frame) + sum(frame, UDP_OFFSET, frame.length)) === 0xffff
}

function pseudoHeaderSum(frame: Uint8Array): number {
  return fold(sum(frame, IP_OFFSET + 12, UDP_OFFSET) + UDP + (frame.length - UDP_OFFSET))
}

function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0
  for (let i = from; i < to; i++) total += (i - from) % 2 === 0 ? bytes[i] << 8 : bytes[i]
  return fold(total)
}

function fold(total: number): number {
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}
