// Requests of linux/udmabuf.h (type 'u') and linux/dma-buf.h (type 'b'). Number of an ioctl; dir is 1 if the kernel
// reads the argument, 3 if it also writes it:
//
//   31  30 29           16 15      8 7       0
//   | dir | argument size |  type   | number |
//
export const Request = {
  UDMABUF_CREATE: 0x4018_7542,
  UDMABUF_CREATE_LIST: 0x4008_7543,
  DMA_BUF_IOCTL_SYNC: 0x4008_6200,
  /** Variant with a 64-bit argument. */
  DMA_BUF_SET_NAME: 0x4008_6201,
  DMA_BUF_IOCTL_EXPORT_SYNC_FILE: 0xc008_6202,
  DMA_BUF_IOCTL_IMPORT_SYNC_FILE: 0x4008_6203,
} as const

const UDMABUF_FLAGS_CLOEXEC = 1

/** Accesses to a dma-buf's bytes; DMA_BUF_SYNC_READ, WRITE and RW. */
export const DmaBufAccess = { READ: 1, WRITE: 2, READ_WRITE: 3 } as const
export type DmaBufAccess = (typeof DmaBufAccess)[keyof typeof DmaBufAccess]

/** Flag of DMA_BUF_IOCTL_SYNC that ends an access. Without it the access begins. */
export const DMA_BUF_SYNC_END = 4
/** Longest name of a dma-buf in bytes, including NUL. */
export const DMA_BUF_NAME_LEN = 32

/** Part of a memory file: offset and length in bytes. */
export interface FileExtent {
  readonly fd: number
  readonly offset: number
  readonly length: number
}

// struct udmabuf_create, 24 bytes
//
//   0       4       8        16       24
//   | memfd | flags | offset | size   |
//
// struct udmabuf_create_list, 8 bytes, and its items of 24
//
//   0       4       8       12      16       24       32
//   | flags | count | memfd | 0     | offset | size   | memfd ...
//
const ITEM_BYTES = 24
const LIST_HEADER_BYTES = 8

/** Returns the argument of UDMABUF_CREATE. */
export function createArgument(extent: FileExtent, flags = UDMABUF_FLAGS_CLOEXEC): Uint8Array {
  const bytes = new Uint8Array(ITEM_BYTES)
  writeItem(new DataView(bytes.buffer), 0, extent, flags)
  return bytes
}

/** Returns the argument of UDMABUF_CREATE_LIST. */
export function createListArgument(extents: readonly FileExtent[], flags = UDMABUF_FLAGS_CLOEXEC): Uint8Array {
  const bytes = new Uint8Array(LIST_HEADER_BYTES + extents.length * ITEM_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, flags, true)
  view.setUint32(4, extents.length, true)
  for (const [i, extent] of extents.entries()) writeItem(view, LIST_HEADER_BYTES + i * ITEM_BYTES, extent, 0)
  return bytes
}

function writeItem(view: DataView, at: number, { fd, offset, length }: FileExtent, flags: number): void {
  view.setInt32(at, fd, true)
  view.setUint32(at + 4, flags, true)
  view.setBigUint64(at + 8, BigInt(offset), true)
  view.setBigUint64(at + 16, BigInt(length), true)
}
