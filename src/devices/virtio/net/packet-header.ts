import { Offload } from '../../../services/network-port.ts'
import {
  GsoType,
  HEADER_CSUM_OFFSET,
  HEADER_CSUM_START,
  HEADER_FLAGS,
  HEADER_GSO_SIZE,
  HEADER_GSO_TYPE,
  HEADER_HDR_LEN,
  HEADER_NUM_BUFFERS,
  HeaderFlag,
} from '../../../services/packet.ts'

/** Faults of a packet header, as texts for `inspect`. */
export const HeaderFault = {
  CSUM_NOT_NEGOTIATED: 'partial checksum without the negotiated feature',
  CSUM_OUTSIDE: 'partial checksum past the end of the frame',
  GSO_TYPE: 'segmentation type that is unknown or was not negotiated',
  GSO_WITHOUT_CSUM: 'segmentation without a partial checksum',
  GSO_SIZE: 'segment size 0',
} as const
export type HeaderFault = (typeof HeaderFault)[keyof typeof HeaderFault]

/**
 * Checks a packet header against the negotiated features and the frame, and clears fields without a meaning, so that
 * the receiver of the packet can trust every field. @virtio 5.1.6.2.2, 5.1.6.4.1
 *
 * @param length length of the frame in bytes
 * @param offloads `Offload`s that the packet may use
 * @param flags `HeaderFlag`s that are defined for the packet's direction; the remaining ones are cleared
 */
export function checkHeader(
  header: Uint8Array,
  length: number,
  offloads: number,
  flags: number,
): HeaderFault | undefined {
  header[HEADER_FLAGS] &= flags
  setHeaderNumber(header, HEADER_NUM_BUFFERS, 0)
  const partial = (header[HEADER_FLAGS] & HeaderFlag.NEEDS_CSUM) !== 0
  if ((offloads & Offload.CSUM) === 0) {
    if (partial) return HeaderFault.CSUM_NOT_NEGOTIATED
    header[HEADER_FLAGS] = 0
  }
  if (!partial) {
    setHeaderNumber(header, HEADER_CSUM_START, 0)
    setHeaderNumber(header, HEADER_CSUM_OFFSET, 0)
  } else if (headerNumber(header, HEADER_CSUM_START) + headerNumber(header, HEADER_CSUM_OFFSET) + 2 > length) {
    return HeaderFault.CSUM_OUTSIDE
  }
  // The length of the headers is a hint, so a wrong one is corrected instead of dropping the packet.
  if (headerNumber(header, HEADER_HDR_LEN) > length) setHeaderNumber(header, HEADER_HDR_LEN, length)
  const type = header[HEADER_GSO_TYPE]
  if (type === GsoType.NONE) {
    setHeaderNumber(header, HEADER_GSO_SIZE, 0)
    return undefined
  }
  if (!mayBeSegmented(type, offloads)) return HeaderFault.GSO_TYPE
  if (!partial) return HeaderFault.GSO_WITHOUT_CSUM
  if (headerNumber(header, HEADER_GSO_SIZE) === 0) return HeaderFault.GSO_SIZE
  return undefined
}

/** Returns the 16-bit number at `at`. */
export function headerNumber(header: Uint8Array, at: number): number {
  return header[at] | (header[at + 1] << 8)
}

export function setHeaderNumber(header: Uint8Array, at: number, value: number): void {
  header[at] = value
  header[at + 1] = value >>> 8
}

function mayBeSegmented(type: number, offloads: number): boolean {
  const marked = (type & GsoType.ECN) !== 0
  switch (type & ~GsoType.ECN) {
    case GsoType.TCPV4:
      return (offloads & Offload.TSO4) !== 0 && (!marked || (offloads & Offload.ECN) !== 0)
    case GsoType.TCPV6:
      return (offloads & Offload.TSO6) !== 0 && (!marked || (offloads & Offload.ECN) !== 0)
    case GsoType.UDP:
      return !marked && (offloads & Offload.UFO) !== 0
    case GsoType.UDP_L4:
      return !marked && (offloads & (Offload.USO4 | Offload.USO6)) !== 0
    default:
      return false
  }
}
