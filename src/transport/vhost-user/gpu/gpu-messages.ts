import { bits64, byteArray, padding, u32 } from '../../../wire/field.ts'
import { counted, fixed, nothing, type Payload } from '../../../wire/payload.ts'
import { struct } from '../../../wire/struct.ts'

// Messages of the protocol in which a GPU's back-end shows its pictures, as QEMU's docs/interop/vhost-user-gpu.rst has
// them. Their header is that of vhost-user without a version. The back-end asks and tells, the front-end answers.

/** Bits of GET_PROTOCOL_FEATURES. */
export const GpuChannelFeature = { EDID: 0, DMABUF2: 1 } as const

/** A cursor's width and height. */
const CURSOR_SIDE = 64
/** `VIRTIO_GPU_MAX_SCANOUTS` */
const MODES = 16

/** Answers to virtio's own questions are virtio's own, with their header. @virtio 5.7.6.7 */
const controlHeader = { type: u32, flags: u32, fence: bits64, context: u32, ring: padding(4) }
const mode = struct({ x: u32, y: u32, width: u32, height: u32, enabled: u32, flags: u32 })
const displayInfo = counted(struct(controlHeader), () => MODES, mode)
const edid = fixed(struct({ ...controlHeader, size: u32, gap: padding(4), edid: byteArray(1024) }))

/** Coordinates are signed numbers in fields that are not. */
const position = { scanout: u32, x: u32, y: u32 }
const cursor = { ...position, hotX: u32, hotY: u32, pixels: byteArray(CURSOR_SIDE * CURSOR_SIDE * 4) }

interface MessageKind<Q, R> {
  readonly id: number
  readonly request: Payload<Q>
  readonly reply: Payload<R>
}

function question<Q, R>(id: number, request: Payload<Q>, reply: Payload<R>): MessageKind<Q, R> {
  return { id, request, reply }
}

function statement<Q>(id: number, request: Payload<Q>): MessageKind<Q, void> {
  return { id, request, reply: nothing }
}

/** What the back-end asks. */
export const GpuQuestion = {
  GET_PROTOCOL_FEATURES: question(1, nothing, fixed(bits64)),
  GET_DISPLAY_INFO: question(3, nothing, displayInfo),
  /** Asks about a scanout there is: QEMU answers nothing about any other. */
  GET_EDID: question(11, fixed(struct({ scanout: u32 })), edid),
} as const
export type GpuQuestion = keyof typeof GpuQuestion

/** What it tells, but UPDATE. */
export const GpuStatement = {
  SET_PROTOCOL_FEATURES: statement(2, fixed(bits64)),
  CURSOR_POS: statement(4, fixed(struct(position))),
  CURSOR_POS_HIDE: statement(5, fixed(struct(position))),
  /** Pixels are words A << 24 | R << 16 | G << 8 | B, with alpha multiplied into the colours, as in `PIXMAN_a8r8g8b8`. */
  CURSOR_UPDATE: statement(6, fixed(struct(cursor))),
  /** A scanout is as large as this, or off where it is 0. */
  SCANOUT: statement(7, fixed(struct({ scanout: u32, width: u32, height: u32 }))),
} as const
export type GpuStatement = keyof typeof GpuStatement

export type GpuQuestionOf<N extends GpuQuestion> = Parameters<(typeof GpuQuestion)[N]['request']['write']>[0]
export type GpuAnswerOf<N extends GpuQuestion> = ReturnType<(typeof GpuQuestion)[N]['reply']['parse']>
export type GpuStatementOf<N extends GpuStatement> = Parameters<(typeof GpuStatement)[N]['request']['write']>[0]

// UPDATE, sent with every frame: its head; after it the pixels, B, G, R, X, rows without gaps. Native words.
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
/** Of the size that an update tells: what is not pixels. */
export const UPDATE_REGION_BYTES = 20
