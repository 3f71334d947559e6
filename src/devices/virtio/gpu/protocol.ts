import type { MutableRect } from '../../../services/rect.ts'
import type { Reader } from '../../../virtqueue/reader.ts'
import { array, byteArray, padding, u32, u64 } from '../../../wire/field.ts'
import { struct } from '../../../wire/struct.ts'

/** Feature bits. @virtio 5.7.3 */
export const GpuFeature = {
  VIRGL: 0,
  EDID: 1,
  RESOURCE_UUID: 2,
  RESOURCE_BLOB: 3,
  CONTEXT_INIT: 4,
  BLOB_ALIGNMENT: 5,
} as const

/** Queues. @virtio 5.7.2 */
export const GpuQueue = { CONTROL: 0, CURSOR: 1 } as const

// Configuration space, 20 bytes                                                     @virtio 5.7.4
//
//   0             4              8              12            16               20
//   | events_read | events_clear | num_scanouts | num_capsets | blob_alignment |
//
export const CONFIG_SIZE = 20
export const CONFIG_EVENTS_READ = 0
export const CONFIG_EVENTS_CLEAR = 4
export const CONFIG_NUM_SCANOUTS = 8
export const CONFIG_NUM_CAPSETS = 12
export const CONFIG_BLOB_ALIGNMENT = 16

/** Bits of `events_read`. @virtio 5.7.4.2 */
export const GpuEvent = { DISPLAY: 1 << 0 } as const

/** Types of requests: `VIRTIO_GPU_CMD_*`. @virtio 5.7.6.7 */
export const GpuCommand = {
  GET_DISPLAY_INFO: 0x0100,
  RESOURCE_CREATE_2D: 0x0101,
  RESOURCE_UNREF: 0x0102,
  SET_SCANOUT: 0x0103,
  RESOURCE_FLUSH: 0x0104,
  TRANSFER_TO_HOST_2D: 0x0105,
  RESOURCE_ATTACH_BACKING: 0x0106,
  RESOURCE_DETACH_BACKING: 0x0107,
  GET_CAPSET_INFO: 0x0108,
  GET_CAPSET: 0x0109,
  GET_EDID: 0x010a,
  RESOURCE_ASSIGN_UUID: 0x010b,
  RESOURCE_CREATE_BLOB: 0x010c,
  SET_SCANOUT_BLOB: 0x010d,

  CTX_CREATE: 0x0200,
  CTX_DESTROY: 0x0201,
  CTX_ATTACH_RESOURCE: 0x0202,
  CTX_DETACH_RESOURCE: 0x0203,
  RESOURCE_CREATE_3D: 0x0204,
  TRANSFER_TO_HOST_3D: 0x0205,
  TRANSFER_FROM_HOST_3D: 0x0206,
  SUBMIT_3D: 0x0207,
  RESOURCE_MAP_BLOB: 0x0208,
  RESOURCE_UNMAP_BLOB: 0x0209,

  UPDATE_CURSOR: 0x0300,
  MOVE_CURSOR: 0x0301,
} as const

/** Types of responses: `VIRTIO_GPU_RESP_*`. @virtio 5.7.6.7 */
export const GpuResponse = {
  OK_NODATA: 0x1100,
  OK_DISPLAY_INFO: 0x1101,
  OK_CAPSET_INFO: 0x1102,
  OK_CAPSET: 0x1103,
  OK_EDID: 0x1104,
  OK_RESOURCE_UUID: 0x1105,
  OK_MAP_INFO: 0x1106,

  ERR_UNSPEC: 0x1200,
  ERR_OUT_OF_MEMORY: 0x1201,
  ERR_INVALID_SCANOUT_ID: 0x1202,
  ERR_INVALID_RESOURCE_ID: 0x1203,
  ERR_INVALID_CONTEXT_ID: 0x1204,
  ERR_INVALID_PARAMETER: 0x1205,
} as const
export type GpuResponse = (typeof GpuResponse)[keyof typeof GpuResponse]

/** Bits of a request's flags: `VIRTIO_GPU_FLAG_*`. @virtio 5.7.6.7 */
export const GpuFlag = { FENCE: 1 << 0, INFO_RING_IDX: 1 << 1 } as const

/** Memory that a blob lies in: `VIRTIO_GPU_BLOB_MEM_*`. @virtio 5.7.6.8 */
export const BlobMem = { GUEST: 1, HOST3D: 2, HOST3D_GUEST: 3 } as const

/**
 * Uses of a blob: `VIRTIO_GPU_BLOB_FLAG_*`. CREATE_GUEST_HANDLE is not in the specification: it requests a dma-buf of
 * guest pages that devices of the host can import. @virtio 5.7.6.8
 */
export const BlobFlag = { USE_MAPPABLE: 1, USE_SHAREABLE: 2, USE_CROSS_DEVICE: 4, CREATE_GUEST_HANDLE: 8 } as const

/** Capability sets, which are the types of contexts: `VIRTIO_GPU_CAPSET_*`. @virtio 5.7.6.8 */
export const Capset = { VIRGL: 1, VIRGL2: 2, GFXSTREAM: 3, VENUS: 4, CROSS_DOMAIN: 5 } as const

/** Bits of `context_init` that hold the capability set of the context. @virtio 5.7.6.9 */
export const CONTEXT_INIT_CAPSET_ID_MASK = 0xff

/** Number of rings of a context that a fence can be on. @virtio 5.7.6.7 */
export const RINGS = 64

/** Id of the shared memory region that host blobs are mapped in. @virtio 5.7.5 */
export const VIRTIO_GPU_SHM_ID_HOST_VISIBLE = 1

/** Caching with which the guest must map a blob: `VIRTIO_GPU_MAP_CACHE_*`. @virtio 5.7.6.9 */
export const MapCache = { NONE: 0, CACHED: 1, UNCACHED: 2, WC: 3 } as const

/** `VIRTIO_GPU_MAX_SCANOUTS` */
export const MAX_SCANOUTS = 16

// Messages of the hot path are read field by field, without an object. Sizes do not include the header.
//
// RESOURCE_FLUSH             0              16            20       24
//                            | rect         | resource_id | pad    |
export const FLUSH_SIZE = 24
// TRANSFER_TO_HOST_2D        0              16       24            28       32
//                            | rect         | offset | resource_id | pad    |
export const TRANSFER_SIZE = 32
// UPDATE_CURSOR, MOVE_CURSOR 0            4   8   12    16            20      24      28    32
//                            | scanout_id | x | y | pad | resource_id | hot_x | hot_y | pad |
export const CURSOR_SIZE = 32

/** Reads a `virtio_gpu_rect`. */
export function takeRect(reader: Reader, into: MutableRect): void {
  into.x = reader.u32()
  into.y = reader.u32()
  into.width = reader.u32()
  into.height = reader.u32()
}

// One `virtio_gpu_mem_entry`  0      8        12    16
//                             | addr | length | pad |
export const MEM_ENTRY_SIZE = 16

// All other messages, without their header.                                         @virtio 5.7.6.8

const RECT = struct({ x: u32, y: u32, width: u32, height: u32 })
const RESOURCE_ONLY = { resourceId: u32, padding: padding(4) }

export const RESP_DISPLAY_INFO = struct({
  modes: array(struct({ rect: RECT, enabled: u32, flags: u32 }), MAX_SCANOUTS),
})

export const GET_EDID = struct({ scanoutId: u32, padding: padding(4) })
export const RESP_EDID = struct({ size: u32, padding: padding(4), edid: byteArray(1024) })

export const GET_CAPSET_INFO = struct({ index: u32, padding: padding(4) })
export const RESP_CAPSET_INFO = struct({ id: u32, maxVersion: u32, maxSize: u32, padding: padding(4) })
export const GET_CAPSET = struct({ id: u32, version: u32 })

export const RESOURCE_CREATE_2D = struct({ resourceId: u32, format: u32, width: u32, height: u32 })

export const RESOURCE_CREATE_BLOB = struct({
  resourceId: u32,
  blobMem: u32,
  blobFlags: u32,
  entryCount: u32,
  blobId: u64,
  size: u64,
})

export const RESOURCE_UNREF = struct(RESOURCE_ONLY)
/** The response carries a UUID of 16 bytes. */
export const RESOURCE_ASSIGN_UUID = struct(RESOURCE_ONLY)
export const RESOURCE_ATTACH_BACKING = struct({ resourceId: u32, entryCount: u32 })
export const RESOURCE_DETACH_BACKING = struct(RESOURCE_ONLY)

export const SET_SCANOUT = struct({ rect: RECT, scanoutId: u32, resourceId: u32 })

export const SET_SCANOUT_BLOB = struct({
  rect: RECT,
  scanoutId: u32,
  resourceId: u32,
  width: u32,
  height: u32,
  format: u32,
  padding: padding(4),
  strides: array(u32, 4),
  offsets: array(u32, 4),
})

// Messages of 3D, without their header.                                              @virtio 5.7.6.9

export const CTX_CREATE = struct({ nameLength: u32, contextInit: u32, debugName: byteArray(64) })
export const CTX_RESOURCE = struct(RESOURCE_ONLY)
/** `size` bytes of commands follow. */
export const SUBMIT_3D = struct({ size: u32, padding: padding(4) })

export const TRANSFER_3D = struct({
  x: u32,
  y: u32,
  z: u32,
  width: u32,
  height: u32,
  depth: u32,
  offset: u64,
  resourceId: u32,
  level: u32,
  stride: u32,
  layerStride: u32,
})

export const RESOURCE_MAP_BLOB = struct({ ...RESOURCE_ONLY, offset: u64 })
export const RESP_MAP_INFO = struct({ mapInfo: u32, padding: padding(4) })
export const RESOURCE_UNMAP_BLOB = struct(RESOURCE_ONLY)
