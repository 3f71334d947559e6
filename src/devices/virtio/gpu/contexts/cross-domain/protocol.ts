import { array, bits64, padding, u32, u64 } from '../../../../../wire/field.ts'
import { struct } from '../../../../../wire/struct.ts'

// SUBMIT_3D of contexts with capability set 5, little-endian: a list of commands, each with a header.
//
//   0     1      2      4     8
//   | cmd | ring | size | pad | ...        size: with the header
//
export const HEADER_SIZE = 8
export const HEADER_COMMAND = 0
export const HEADER_COMMAND_SIZE = 2

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

/** Commands of Outboard. Their numbers are far above those of the protocol, which count up from 1. */
export const PrivateCommand = { DESCRIBE_IMAGE: 0xf0, PRESENT: 0xf1 } as const

/** INIT, without its header: the first form, and the current one, with a second ring for the channel. */
export const INIT_LEGACY = struct({ queryRing: u32, channelType: u32 })
export const INIT = struct({ queryRing: u32, channelRing: u32, channelType: u32 })

/** Channel type of a context that only allocates. */
export const CHANNEL_NONE = 0

/** GET_IMAGE_REQUIREMENTS, without its header. */
export const IMAGE_QUERY = struct({ width: u32, height: u32, fourcc: u32, use: u32 })

/** Answer to GET_IMAGE_REQUIREMENTS, at the start of the query ring. */
export const IMAGE_REQUIREMENTS = struct({
  strides: array(u32, 4),
  offsets: array(u32, 4),
  modifier: bits64,
  size: u64,
  blobId: u32,
  mapInfo: u32,
  memoryIndex: u32,
  physicalDeviceIndex: u32,
})

/** -1: no index. */
export const NO_INDEX = 0xffff_ffff

/** DESCRIBE_IMAGE, without its header. */
export const IMAGE_DESCRIPTION = struct({
  resourceId: u32,
  width: u32,
  height: u32,
  fourcc: u32,
  modifier: bits64,
  planeCount: u32,
  padding: padding(4),
  strides: array(u32, 4),
  offsets: array(u32, 4),
})

/**
 * Answer to DESCRIBE_IMAGE, at the start of the query ring: the response type, which programs do not receive otherwise,
 * and one of `DescribedKind`.
 */
export const IMAGE_DESCRIBED = struct({ response: u32, kind: u32 })

/** How the described blob is exported. */
export const DescribedKind = { NOT_SHARED: 0, DMA_BUF: 1, LINEAR: 2 } as const

// PRESENT, without its header. Sent for every frame, so it is read field by field.
//
//   0             4     8   12  16      20       24
//   | resource_id | pad | x | y | width | height |
//
export const PRESENT_SIZE = 24
export const PRESENT_RESOURCE = 0
export const PRESENT_RECT = 8

export const CAPABILITIES = struct({
  version: u32,
  supportedChannels: u32,
  supportsDmabuf: u32,
  supportsExternalGpuMemory: u32,
})
