import { bits64, byteArray, padding, u32 } from '../../../wire/field.ts'
import { counted, fixed, nothing, type Payload } from '../../../wire/payload.ts'
import { struct } from '../../../wire/struct.ts'

// Messages of the vhost-user-gpu protocol; QEMU's docs/interop/vhost-user-gpu.rst. The header is that of vhost-user
// without a version. The back-end sends requests and updates, the front-end replies.

/** Bits of GET_PROTOCOL_FEATURES. */
export const GpuChannelFeature = { EDID: 0, DMABUF2: 1 } as const

/** Width and height of a cursor in pixels. */
const CURSOR_SIDE = 64
/** `VIRTIO_GPU_MAX_SCANOUTS` */
const MODES = 16

/** Replies to virtio requests are virtio responses with their header. @virtio 5.7.6.7 */
const controlHeader = { type: u32, flags: u32, fence: bits64, context: u32, ring: padding(4) }
const mode = struct({ x: u32, y: u32, width: u32, height: u32, enabled: u32, flags: u32 })
const displayInfo = counted(struct(controlHeader), () => MODES, mode)
const edid = fixed(struct({ ...controlHeader, size: u32, gap: padding(4), edid: byteArray(1024) }))

/** Coordinates are signed, in unsigned fields. */
const position = { scanout: u32, x: u32, y: u32 }
const cursor = { ...position, hotX: u32, hotY: u32, pixels: byteArray(CURSOR_SIDE * CURSOR_SIDE * 4) }

interface MessageKind<Q, R> {
  readonly id: number
  readonly request: Payload<Q>
  readonly reply: Payload<R>
}

function request<Q, R>(id: number, request: Payload<Q>, reply: Payload<R>): MessageKind<Q, R> {
  return { id, request, reply }
}

function message<Q>(id: number, request: Payload<Q>): MessageKind<Q, void> {
  return { id, request, reply: nothing }
}

/** Requests of the back-end. */
export const GpuRequest = {
  GET_PROTOCOL_FEATURES: request(1, nothing, fixed(bits64)),
  GET_DISPLAY_INFO: request(3, nothing, displayInfo),
  /** Only for an existing scanout: QEMU does not reply about others. */
  GET_EDID: request(11, fixed(struct({ scanout: u32 })), edid),
} as const
export type GpuRequest = keyof typeof GpuRequest

/** Messages without a reply, except UPDATE. */
export const GpuMessage = {
  SET_PROTOCOL_FEATURES: message(2, fixed(bits64)),
  CURSOR_POS: message(4, fixed(struct(position))),
  CURSOR_POS_HIDE: message(5, fixed(struct(position))),
  /**
   * Pixels are words A << 24 | R << 16 | G << 8 | B, with alpha multiplied into the colours, as in `PIXMAN_a8r8g8b8`.
   */
  CURSOR_UPDATE: message(6, fixed(struct(cursor))),
  /** Size of a scanout; 0 by 0 turns it off. */
  SCANOUT: message(7, fixed(struct({ scanout: u32, width: u32, height: u32 }))),
} as const
export type GpuMessage = keyof typeof GpuMessage

export type GpuRequestOf<N extends GpuRequest> = Parameters<(typeof GpuRequest)[N]['request']['write']>[0]
export type GpuReplyOf<N extends GpuRequest> = ReturnType<(typeof GpuRequest)[N]['reply']['parse']>
export type GpuMessageOf<N extends GpuMessage> = Parameters<(typeof GpuMessage)[N]['request']['write']>[0]

// UPDATE, sent with every frame: its head, then the pixels as B, G, R, X rows without gaps. Native byte order.
//
//   0         4       8      12           16  20  24      28       32
//   | request | flags | size | scanout id | x | y | width | height |
//
export const GPU_UPDATE = 8
export const UPDATE_WORDS = 8
export const UPDATE_REQUEST = 0
export const UPDATE_SIZE = 2
export const UPDATE_SCANOUT = 3
export const UPDATE_X = 4
export const UPDATE_Y = 5
export const UPDATE_WIDTH = 6
export const UPDATE_HEIGHT = 7 // u32 indices
/** Bytes of an update's `size` that are not pixels. */
export const UPDATE_REGION_BYTES = 20
