import type { Descriptor } from '../../host/linux/descriptor.ts'
import { MessageStream } from '../../host/socket/message-stream.ts'
import {
  HEADER_BYTES,
  HEADER_COMMAND,
  HEADER_ERROR,
  HEADER_FLAGS,
  HEADER_ID,
  HEADER_SIZE,
  MAX_DESCRIPTORS,
  MAX_MESSAGE,
  MessageFlag,
} from './protocol.ts'

/** A message as it came. */
export interface RawMessage {
  readonly id: number
  readonly command: number
  readonly flags: number
  /** Of a reply: an errno, 0 where there is none. */
  readonly error: number
  /** Valid until the stream is added to. */
  readonly payload: Uint8Array
  /** The receiver of the message closes them. */
  readonly descriptors: readonly Descriptor[]
}

/** @vfio-user Protocol Specification, Header */
export class CommandStream extends MessageStream<RawMessage> {
  constructor() {
    super(HEADER_BYTES, MAX_DESCRIPTORS)
  }

  protected measure(view: DataView, at: number): number | string {
    const size = view.getUint32(at + HEADER_SIZE, true)
    if (size < HEADER_BYTES || size > MAX_MESSAGE) return `a message of ${size} bytes`
    const type = view.getUint32(at + HEADER_FLAGS, true) & MessageFlag.TYPE_MASK
    return type > MessageFlag.REPLY ? 'neither a command nor a reply' : size
  }

  protected decode(view: DataView, at: number, payload: Uint8Array, descriptors: readonly Descriptor[]): RawMessage {
    return {
      id: view.getUint16(at + HEADER_ID, true),
      command: view.getUint16(at + HEADER_COMMAND, true),
      flags: view.getUint32(at + HEADER_FLAGS, true),
      error: view.getUint32(at + HEADER_ERROR, true),
      payload,
      descriptors,
    }
  }
}

/** A message, whole. */
export function encodeMessage(header: Omit<RawMessage, 'payload' | 'descriptors'>, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(HEADER_ID, header.id, true)
  view.setUint16(HEADER_COMMAND, header.command, true)
  view.setUint32(HEADER_SIZE, bytes.length, true)
  view.setUint32(HEADER_FLAGS, header.flags, true)
  view.setUint32(HEADER_ERROR, header.error, true)
  bytes.set(payload, HEADER_BYTES)
  return bytes
}
