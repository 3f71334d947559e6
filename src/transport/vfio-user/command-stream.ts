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

/** Received message with its header fields. */
export interface RawMessage {
  readonly id: number
  readonly command: number
  readonly flags: number
  /** Reply: error number, or 0. */
  readonly error: number
  /** Valid until the next `add`. */
  readonly payload: Uint8Array
  /** Owned by the receiver of the message. */
  readonly descriptors: readonly Descriptor[]
}

/** Splits a stream into vfio-user messages. @vfio-user Protocol Specification, Header */
export class CommandStream extends MessageStream<RawMessage> {
  constructor() {
    super(HEADER_BYTES, MAX_DESCRIPTORS)
  }

  protected measure(view: DataView, at: number): number | string {
    const size = view.getUint32(at + HEADER_SIZE, true)
    if (size < HEADER_BYTES || size > MAX_MESSAGE) return `invalid message size ${size}`
    const type = view.getUint32(at + HEADER_FLAGS, true) & MessageFlag.TYPE_MASK
    return type > MessageFlag.REPLY ? 'a message is neither a command nor a reply' : size
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

/** Returns the bytes of a message. */
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
