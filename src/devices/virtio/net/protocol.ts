/** Numbers and layouts of the network device. @virtio 5.1 */

/** Feature bits. @virtio 5.1.3 */
export const NetFeature = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  HOST_UFO: 14,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
  DEVICE_STATS: 50,
  HASH_TUNNEL: 51,
  VQ_NOTF_COAL: 52,
  NOTF_COAL: 53,
  GUEST_USO4: 54,
  GUEST_USO6: 55,
  HOST_USO: 56,
  HASH_REPORT: 57,
  GUEST_HDRLEN: 59,
  RSS: 60,
  RSC_EXT: 61,
  STANDBY: 62,
  SPEED_DUPLEX: 63,
  RSS_CONTEXT: 64,
} as const

// Queues of a device with N pairs; the control queue is queue 2 if MQ is not negotiated            @virtio 5.1.2
//
//   0          1           2          3           ...  2N
//   | receiveq1 | transmitq1 | receiveq2 | transmitq2 | ... | controlq |
//

// Configuration space, little-endian                                                              @virtio 5.1.4
//
//   0     6        8                     10    12      16       17
//   | mac | status | max_virtqueue_pairs | mtu | speed | duplex |
//
export const CONFIG_MAC = 0
export const CONFIG_STATUS = 6
export const CONFIG_MAX_VIRTQUEUE_PAIRS = 8
export const CONFIG_MTU = 10
export const CONFIG_SPEED = 12
export const CONFIG_DUPLEX = 16
/** Ends before the fields of hashes, which are not offered. */
export const CONFIG_BYTES = 17

/** Bits of the configuration's `status`. @virtio 5.1.4 */
export const NetStatus = { LINK_UP: 1, ANNOUNCE: 2 } as const

export const SPEED_UNKNOWN = 0xffff_ffff
export const DUPLEX_FULL = 1
export const DUPLEX_UNKNOWN = 0xff

/** Classes of control commands. @virtio 5.1.6.5 */
export const CtrlClass = {
  RX: 0,
  MAC: 1,
  VLAN: 2,
  ANNOUNCE: 3,
  MQ: 4,
  GUEST_OFFLOADS: 5,
  NOTF_COAL: 6,
  HASH_TUNNEL: 7,
  STATS: 8,
  RSS_CONTEXT: 9,
} as const

/** Commands of each class that is served. @virtio 5.1.6.5 */
export const CtrlRx = { PROMISC: 0, ALLMULTI: 1, ALLUNI: 2, NOMULTI: 3, NOUNI: 4, NOBCAST: 5 } as const
export const CtrlMac = { TABLE_SET: 0, ADDR_SET: 1 } as const
export const CtrlVlan = { ADD: 0, DEL: 1 } as const
export const CtrlAnnounce = { ACK: 0 } as const
export const CtrlMq = { VQ_PAIRS_SET: 0, RSS_CONFIG: 1, HASH_CONFIG: 2 } as const
export const CtrlGuestOffloads = { SET: 0 } as const

/** Values of a command's `ack`, which the device writes. @virtio 5.1.6.5 */
export const CtrlAck = { OK: 0, ERR: 1 } as const
