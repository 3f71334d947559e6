// A packet between a network device and its port: a header, then the Ethernet frame without its checksum.

// Header in front of each packet, both ways, little-endian                                        @virtio 5.1.6
//
//   0       1          2         4          6            8             10            12
//   | flags | gso_type | hdr_len | gso_size | csum_start | csum_offset | num_buffers |
//
export const HEADER_FLAGS = 0
export const HEADER_GSO_TYPE = 1
export const HEADER_HDR_LEN = 2
export const HEADER_GSO_SIZE = 4
export const HEADER_CSUM_START = 6
export const HEADER_CSUM_OFFSET = 8
export const HEADER_NUM_BUFFERS = 10
export const HEADER_BYTES = 12
/** Length without `num_buffers`, for a legacy driver without MRG_RXBUF. @virtio 5.1.6.1 */
export const LEGACY_HEADER_BYTES = 10

/** Bits of a header's `flags`. @virtio 5.1.6 */
export const HeaderFlag = { NEEDS_CSUM: 1, DATA_VALID: 2 } as const

/** Values of a header's `gso_type`. ECN is a flag in addition to the TCP types. @virtio 5.1.6 */
export const GsoType = { NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5, ECN: 0x80 } as const

/** Ethernet: two addresses and a type. */
export const ETHERNET_BYTES = 14
export const VLAN_TAG_BYTES = 4
/** Type of an 802.1Q tag, which replaces the frame's own type. */
export const VLAN_TYPE = 0x8100
export const ADDRESS_BYTES = 6
/** Limits of the MTU of a device. @virtio 5.1.4.1 */
export const MIN_MTU = 68
export const MAX_MTU = 65535
/** Largest frame: Ethernet header, VLAN tag, IPv6 header and 65535 bytes. @virtio 5.1.6.3 */
export const MAX_FRAME_BYTES = ETHERNET_BYTES + VLAN_TAG_BYTES + 40 + 65535
