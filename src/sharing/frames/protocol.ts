import { array, bits64, byteArray, type Field, padding, u32, u64 } from '../../wire/field.ts'
import { counted, fixed, nothing, type Payload, withBytes } from '../../wire/payload.ts'
import { struct } from '../../wire/struct.ts'

// Protocol of an export socket, version 1; docs/frames.md. All fields are little-endian. A message is a header of 16
// bytes and a payload; its descriptors are sent with its first byte.
//
//   0      4      8              12     16
//   | size | type | descriptors  | 0    | payload ...
//
export const HEADER_BYTES = 16

/** Version of the protocol. */
export const VERSION = 1
/** Identifies an export socket: `FRAM`. */
export const MAGIC = 0x4d41_5246

/** Maximum length of a message in bytes. */
export const MAX_MESSAGE_BYTES = 0x1_0000
/** Maximum length of a consumer's message in bytes. */
export const MAX_CONSUMER_MESSAGE_BYTES = 64
/** Maximum length of a text in UTF-8 bytes. */
export const MAX_TEXT_BYTES = 1024
/** Maximum number of extents in one message; a buffer with more needs several messages. */
export const MAX_EXTENTS = 2048
/** Maximum number of memory files of a buffer: the kernel passes no more descriptors in one message. */
export const MAX_FILES = 253
export const MAX_PLANES = 4

/** Flags of HELLO. */
export const ServerFlag = {
  /** Consumers receive memory files, with everything they contain. */
  MEMORY_FILES: 1,
} as const

/** Events that a consumer subscribes to. */
export const Wanted = {
  /** Scanouts and their buffers. */
  SCANOUTS: 1,
  /** All buffers, also those that no scanout shows. */
  BUFFERS: 2,
} as const

/** Type of a frame's source. */
export const FrameSource = { SCANOUT: 0, BUFFER: 1 } as const
export type FrameSource = (typeof FrameSource)[keyof typeof FrameSource]

/** Type of a buffer. */
export const WireKind = { DMA_BUF: 1, LINEAR: 2 } as const

/** Path to a scanout's bytes; `SurfacePath`. */
export const WirePath = { OFF: 0, DMA_BUF: 1, LINEAR: 2, SCATTER: 3, COPY: 4 } as const

/** Properties that a description has, as bits. */
export const DescriptionFlag = { PICTURE: 1, UUID: 2 } as const

const rect = struct({ x: u32, y: u32, width: u32, height: u32 })
const plane = struct({ offset: u32, stride: u32 })
const picture = struct({
  width: u32,
  height: u32,
  fourcc: u32,
  planeCount: u32,
  modifier: bits64,
  planes: array(plane, MAX_PLANES),
})
const description = struct({ buffer: u64, flags: u32, gap: padding(4), uuid: byteArray(16), picture })
const extent = struct({ file: u32, gap: padding(4), offset: u64, length: u64 })

/** Framebuffer layout on the wire. */
export type WirePicture = typeof picture extends Field<infer T> ? T : never
export type WireDescription = typeof description extends Field<infer T> ? T : never

/** Message kind: its number and its payload. */
export interface MessageKind<T> {
  readonly type: number
  readonly payload: Payload<T>
}

function kind<T>(type: number, payload: Payload<T>): MessageKind<T> {
  return { type, payload }
}

/** First message of each side. The server sends it first. */
export const HELLO = kind(1, fixed(struct({ magic: u32, version: u32, flags: u32, gap: padding(4) })))
/** Last message of a server, with the reason for the end. */
export const REFUSED = kind(
  2,
  withBytes(struct({ textBytes: u32, gap: padding(4) }), ({ textBytes }) => textBytes),
)
/**
 * Announces a buffer; sent before all other messages about it. It carries the dma-buf, or the descriptors of memory
 * files, whose `extents` follow at once in messages of their own.
 */
export const BUFFER = kind(
  3,
  withBytes(
    struct({
      description,
      kind: u32,
      extents: u32,
      byteLength: u64,
      nameBytes: u32,
      reasonBytes: u32,
      withheldBytes: u32,
      gap: padding(4),
    }),
    ({ nameBytes, reasonBytes, withheldBytes }) => nameBytes + reasonBytes + withheldBytes,
  ),
)
/** Further extents of the buffer that was announced last, in order. */
export const EXTENTS = kind(
  4,
  counted(struct({ buffer: u64, count: u32, gap: padding(4) }), ({ count }) => count, extent),
)
/** The guest took a buffer back. The consumer's handles stay valid until it releases the buffer. */
export const BUFFER_REMOVED = kind(5, fixed(struct({ buffer: u64 })))
/** The layout of a buffer changed. */
export const DESCRIPTION = kind(6, fixed(description))
/** Surface of a scanout, beginning with the next frame. */
export const SCANOUT = kind(
  7,
  withBytes(
    struct({ scanout: u32, path: u32, buffer: u64, source: rect, picture, textBytes: u32, gap: padding(4) }),
    ({ textBytes }) => textBytes,
  ),
)
/** Pixels of a source changed. The source sends no other frame until this one is acknowledged. */
export const FRAME = kind(
  8,
  counted(struct({ source: u32, count: u32, id: u64, sequence: u64, time: u64 }), ({ count }) => count, rect),
)
/** Acknowledges a frame; sent by the consumer. */
export const ACKNOWLEDGE = kind(9, fixed(struct({ source: u32, gap: padding(4), id: u64, sequence: u64 })))
/** The consumer closed a buffer. */
export const RELEASE = kind(10, fixed(struct({ buffer: u64 })))

/** The state at the time of the connection is complete. */
export const READY = kind(11, nothing)

/** Encodes a message. @param descriptors number of its descriptors */
export function encode<T>({ type, payload }: MessageKind<T>, value: T, descriptors = 0): Uint8Array {
  const body = payload.write(value)
  const bytes = new Uint8Array(HEADER_BYTES + body.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, true)
  view.setUint32(4, type, true)
  view.setUint32(8, descriptors, true)
  bytes.set(body, HEADER_BYTES)
  return bytes
}
