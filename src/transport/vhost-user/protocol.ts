// Numbers of the vhost-user protocol; QEMU's docs/interop/vhost-user.rst. All fields are little-endian.

// Message, both directions                                                                      @vhost-user Header
//
//   0         4       8      12
//   | request | flags | size | payload: `size` bytes |
//
export const HEADER_BYTES = 12
export const HEADER_REQUEST = 0
export const HEADER_FLAGS = 4
export const HEADER_SIZE = 8

/** Maximum payload in bytes, more than twice the longest of the protocol. */
export const MAX_PAYLOAD = 4096

export const MessageFlag = {
  VERSION_MASK: 0x3,
  VERSION: 0x1,
  REPLY: 1 << 2,
  NEED_REPLY: 1 << 3,
} as const

/** Virtio feature bits with a meaning of their own in vhost. @vhost-user Communication, Migration */
export const VhostFeature = {
  LOG_ALL: 26,
  PROTOCOL_FEATURES: 30,
} as const

/** @vhost-user Protocol features */
export const ProtocolFeature = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM: 22,
  GET_VRING_BASE_SKIP_DRAIN: 23,
} as const
export type ProtocolFeature = (typeof ProtocolFeature)[keyof typeof ProtocolFeature]

/** Bits of the ring number in SET_VRING_KICK, CALL and ERR. */
export const VRING_INDEX_MASK = 0xff
export const VRING_NO_FD = 1 << 8

/** Flag of SET_VRING_ADDR: writes to the used ring are logged. */
export const VHOST_VRING_F_LOG = 1 << 0

/** Bytes of guest memory for one bit of the log. @vhost-user Migration */
export const LOG_PAGE = 0x1000

/** Maximum number of regions in SET_MEM_TABLE. */
export const MAX_TABLE_REGIONS = 8
/** Maximum bytes of configuration space in one message. */
export const MAX_CONFIG = 256
export const SHMEM_REGIONS = 256

/** Flags of SET_CONFIG: written by the guest, or by a migration. */
export const ConfigFlag = { WRITABLE: 0, MIGRATION: 1 } as const

/** Flags of SHMEM_MAP. */
export const MMAP_RW = 1
