// Descriptors of both rings are 16 bytes, little-endian. Offsets are in 32-bit words.
//
//          0        4        8        12       14      16
//   split  | addr (64 bits)  | len    | flags  | next  |      @virtio 2.7.5
//   packed | addr (64 bits)  | len    | id     | flags |      @virtio 2.8.13
//
// Typed arrays use the host's byte order, which must be little-endian too.
export const DESC_BYTES = 16
export const DESC_WORDS = 4
export const DESC_ADDR_LO = 0
export const DESC_ADDR_HI = 1
export const DESC_LEN = 2
/** Split: flags in the low half, next in the high half. Packed: id in the low half, flags in the high half. */
export const DESC_TAIL = 3

export const VIRTQ_DESC_F_NEXT = 1
export const VIRTQ_DESC_F_WRITE = 2
export const VIRTQ_DESC_F_INDIRECT = 4
/** Packed only. @virtio 2.8.1 */
export const VIRTQ_DESC_F_AVAIL = 1 << 7
export const VIRTQ_DESC_F_USED = 1 << 15

// Split ring, available side: u16 units                               @virtio 2.7.6
//
//   | flags | idx | ring[0] ... ring[size - 1] | used_event |
//
export const AVAIL_FLAGS = 0
export const AVAIL_IDX = 1
export const AVAIL_RING = 2
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1

// Split ring, used side: u16 flags and idx, then pairs of u32         @virtio 2.7.8
//
//   | flags, idx | id, len | ... | id, len | avail_event |
//
export const USED_FLAGS = 0
export const USED_IDX = 1
/** Offset of the first entry, in 32-bit words. */
export const USED_RING = 1
export const VIRTQ_USED_F_NO_NOTIFY = 1

// Packed ring, both event suppression areas: u16 units                @virtio 2.8.14
//
//   | offset: 15 bits, wrap: 1 bit | flags |
//
export const EVENT_POSITION = 0
export const EVENT_FLAGS = 1
export const RING_EVENT_FLAGS_ENABLE = 0
export const RING_EVENT_FLAGS_DISABLE = 1
export const RING_EVENT_FLAGS_DESC = 2
