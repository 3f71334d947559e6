import { ADDRESS_BYTES, ETHERNET_BYTES } from '../../../services/packet.ts'

/** Minimum length of an Ethernet frame, without its frame check sequence. */
const FRAME_BYTES = 60
const RARP_TYPE = 0x8035
const ETHERNET = 1
const IPV4_TYPE = 0x0800
const REQUEST = 3

/**
 * Returns a frame from which switches learn the location of a station: a broadcast RARP request (RFC 903), to which no
 * station must reply.
 */
export function rarpFrame(address: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES)
  const view = new DataView(frame.buffer)
  frame.fill(0xff, 0, ADDRESS_BYTES)
  frame.set(address, ADDRESS_BYTES)
  view.setUint16(12, RARP_TYPE)
  view.setUint16(ETHERNET_BYTES, ETHERNET)
  view.setUint16(ETHERNET_BYTES + 2, IPV4_TYPE)
  view.setUint8(ETHERNET_BYTES + 4, ADDRESS_BYTES)
  view.setUint8(ETHERNET_BYTES + 5, 4)
  view.setUint16(ETHERNET_BYTES + 6, REQUEST)
  frame.set(address, ETHERNET_BYTES + 8)
  frame.set(address, ETHERNET_BYTES + 18)
  return frame
}
