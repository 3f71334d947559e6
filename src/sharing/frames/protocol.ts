import { array, bits64, byteArray, type Field, padding, u32, u64 } from '../../wire/field.ts'
import { counted, fixed, nothing, type Payload, withBytes } from '../../wire/payload.ts'
import { struct } from '../../wire/struct.ts'

// The protocol of an export socket, version 1; docs/frames.md. All is little-endian. A message is a header of 16 bytes and a
// payload; its descriptors lie beside its first byte.
//
//   0      4      8              12     16
//   | size | type | descriptors  | 0    | payload ...
//
export const HEADER_BYTES = 16

/** The version of the protocol that is spoken here. */
export const VERSION = 1
/** Says that this is an export socket: `FRAM`. */
export const MAGIC = 0x4d41_5246

/** No message is longer. */
export const MAX_MESSAGE_BYTES = 0x1_0000
/** No message of a consumer's is longer. */
export const MAX_CONSUMER_MESSAGE_BYTES = 64
/** Longest text in a message, in bytes. */
export const MAX_TEXT_BYTES = 1024
/** Extents in one message; those of a buffer may come in several. */
export const MAX_EXTENTS = 2048
/** Memory files that one buffer lies in; the kernel passes no more descriptors at once. */
export const MAX_FILES = 253
export const MAX_PLANES = 4

/** What a HELLO says besides the version. */
export const ServerFlag = {
  /** Whoever connects gets memory files, with all that is in them. */
  MEMORY_FILES: 1,
} as const

/** What a consumer wants to be told of. */
export const Wanted = {
  /** Scanouts, and the buffers that they show. */
  SCANOUTS: 1,
  /** All buffers, whether a scanout shows them or not. */
  BUFFERS: 2,
} as const

/** Where frames come from. */
export const FrameSource = { SCANOUT: 0, BUFFER: 1 } as const
export type FrameSource = (typeof FrameSource)[keyof typeof FrameSource]

/** How a buffer is had. */
export const WireKind = { DMA_BUF: 1, LINEAR: 2 } as const

/** How a scanout's bytes are had; `SurfacePath`. */
export const WirePath = { OFF: 0, DMA_BUF: 1, LINEAR: 2, SCATTER: 3, COPY: 4 } as const

/** What a description says. */
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

/** What a picture is on the wire. */
export type WirePicture = typeof picture extends Field<infer T> ? T : never
export type WireDescription = typeof description extends Field<infer T> ? T : never

/** One kind of message: its number and its payload. */
export interface MessageKind<T> {
  readonly type: number
  readonly payload: Payload<T>
}

function kind<T>(type: number, payload: Payload<T>): MessageKind<T> {
  return { type, payload }
}

/** What both ends say first; the server begins. */
export const HELLO = kind(1, fixed(struct({ magic: u32, version: u32, flags: u32, gap: padding(4) })))
/** The last that a server says, and why. */
export const REFUSED = kind(
  2,
  withBytes(struct({ textBytes: u32, gap: padding(4) }), ({ textBytes }) => textBytes),
)
/**
 * A buffer, before anything that is about it. Its descriptor comes with it, or those of its memory files, which are then said
 * to make it up by `extents` of them, in messages of their own that follow at once.
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
/** More parts of memory files of which the buffer before is made, one behind the other. */
export const EXTENTS = kind(
  4,
  counted(struct({ buffer: u64, count: u32, gap: padding(4) }), ({ count }) => count, extent),
)
/** The guest took a buffer back; what the consumer has stays as it is until it is released. */
export const BUFFER_GONE = kind(5, fixed(struct({ buffer: u64 })))
/** What a buffer is said to be has changed. */
export const DESCRIPTION = kind(6, fixed(description))
/** What a scanout shows from the next frame on. */
export const SCANOUT = kind(
  7,
  withBytes(
    struct({ scanout: u32, path: u32, buffer: u64, source: rect, picture, textBytes: u32, gap: padding(4) }),
    ({ textBytes }) => textBytes,
  ),
)
/** Pixels changed. No more of them come from this source until it is acknowledged. */
export const FRAME = kind(
  8,
  counted(struct({ source: u32, count: u32, id: u64, sequence: u64, time: u64 }), ({ count }) => count, rect),
)
/** From the consumer: it is done with a frame. */
export const ACKNOWLEDGE = kind(9, fixed(struct({ source: u32, gap: padding(4), id: u64, sequence: u64 })))
/** From the consumer: it has closed what it had of a buffer, and knows it no more. */
export const RELEASE = kind(10, fixed(struct({ buffer: u64 })))

/** All that there was when the consumer came has been told. */
export const READY = kind(11, nothing)

/** A message as bytes. @param descriptors how many lie beside it */
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
