// Constants of the vfio-user protocol, from QEMU's docs/interop/vfio-user.rst and <linux/vfio.h>. All fields are
// little-endian.

// Message in either direction                                                                   @vfio-user Header
//
//   0    2         4      8       12      16
//   | id | command | size | flags | error | data |          size: of the whole message
//
export const HEADER_BYTES = 16
export const HEADER_ID = 0
export const HEADER_COMMAND = 2
export const HEADER_SIZE = 4
export const HEADER_FLAGS = 8
export const HEADER_ERROR = 12

export const MessageFlag = {
  TYPE_MASK: 0xf,
  COMMAND: 0x0,
  REPLY: 0x1,
  NO_REPLY: 1 << 4,
  ERROR: 1 << 5,
} as const

/** Supported version: the only major one of the protocol, and the newest supported minor one. */
export const MAJOR = 0
export const MINOR = 1

/** Limits of this server, sent in VERSION. Sizes in bytes. @vfio-user VERSION */
export const MAX_TRANSFER = 1 << 20
/** Sent as max_msg_fds: QEMU refuses larger values. Messages may nevertheless have up to MAX_DESCRIPTORS. */
export const ADVERTISED_DESCRIPTORS = 16
export const MAX_DESCRIPTORS = 253
export const MAX_MAPS = 4096
export const PAGE = 0x1000

/** Maximum message size in bytes: a region access with MAX_TRANSFER bytes of data. */
export const MAX_MESSAGE = HEADER_BYTES + 16 + MAX_TRANSFER

/** @vfio-user DEVICE_GET_INFO */
export const DeviceFlag = { RESET: 1 << 0, PCI: 1 << 1 } as const

/** Regions of a PCI device, by index: 0 to 5 are its BARs. */
export const RegionIndex = { ROM: 6, CONFIG: 7, VGA: 8 } as const
export const REGIONS = 9
export const RegionFlag = { READ: 1 << 0, WRITE: 1 << 1, MMAP: 1 << 2, CAPS: 1 << 3 } as const
export const CAP_SPARSE_MMAP = 1

/** Kinds of interrupts of a PCI device. */
export const IrqIndex = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const
export type IrqIndex = (typeof IrqIndex)[keyof typeof IrqIndex]
export const IRQS = 5
export const IrqFlag = { EVENTFD: 1 << 0, MASKABLE: 1 << 1, AUTOMASKED: 1 << 2, NORESIZE: 1 << 3 } as const

/** @vfio-user DEVICE_SET_IRQS */
export const IrqSet = {
  DATA_NONE: 1 << 0,
  DATA_BOOL: 1 << 1,
  DATA_EVENTFD: 1 << 2,
  ACTION_MASK: 1 << 3,
  ACTION_UNMASK: 1 << 4,
  ACTION_TRIGGER: 1 << 5,
} as const

/** @vfio-user DMA_MAP */
export const DmaFlag = { READ: 1 << 0, WRITE: 1 << 1 } as const
/** Flag of DMA_UNMAP: unmaps all ranges; address and size must be 0. */
export const UNMAP_ALL = 1 << 1

/** @vfio-user DEVICE_FEATURE */
export const FEATURE_MASK = 0xffff
export const FeatureFlag = { GET: 1 << 16, SET: 1 << 17, PROBE: 1 << 18 } as const
export const DeviceFeature = {
  DMA_LOGGING_START: 6,
  DMA_LOGGING_STOP: 7,
  DMA_LOGGING_REPORT: 8,
} as const
