import { array, padding, u8, u16, u32, u64, wireStruct } from '../wire-struct.ts'

// What contexts of capability set 5 are sent, little-endian: commands one after the other, each with a header.
//
//   0     1      2      4     8
//   | cmd | ring | size | pad | ...        size: of the whole command
//

/** `CROSS_DOMAIN_CMD_*` */
export const CrossDomainCommand = {
  INIT: 1,
  GET_IMAGE_REQUIREMENTS: 2,
  POLL: 3,
  SEND: 4,
  RECEIVE: 5,
  READ: 6,
  WRITE: 7,
} as const

export const HEADER = wireStruct({ command: u8, ring: u8, size: u16, padding: padding(4) })

/** INIT, without its header: first as it was, then with a ring of its own for the channel. */
export const INIT_LEGACY = wireStruct({ queryRing: u32, channelType: u32 })
export const INIT = wireStruct({ queryRing: u32, channelRing: u32, channelType: u32 })

/** A channel type that is none: the context only allocates. */
export const CHANNEL_NONE = 0

/** GET_IMAGE_REQUIREMENTS, without its header. */
export const IMAGE_QUERY = wireStruct({ width: u32, height: u32, fourcc: u32, use: u32 })

/** Its answer, at the start of the query ring. */
export const IMAGE_REQUIREMENTS = wireStruct({
  strides: array(u32, 4),
  offsets: array(u32, 4),
  modifier: u64,
  size: u64,
  blobId: u32,
  mapInfo: u32,
  memoryIndex: u32,
  physicalDeviceIndex: u32,
})

/** An index that means nothing: -1. */
export const NO_INDEX = 0xffff_ffff

/** `DRM_FORMAT_MOD_LINEAR` */
export const MODIFIER_LINEAR = 0

export const CAPABILITIES = wireStruct({
  version: u32,
  supportedChannels: u32,
  supportsDmabuf: u32,
  supportsExternalGpuMemory: u32,
})
