import type { Descriptor } from '../../host/linux/descriptor.ts'
import { MessageStream } from '../../host/socket/message-stream.ts'
import { HEADER_BYTES, HEADER_FLAGS, HEADER_REQUEST, HEADER_SIZE, MAX_PAYLOAD, MessageFlag } from './protocol.ts'

/** Message with its header, not yet parsed. */
export interface RawMessage {
  readonly request: number
  readonly flags: number
  /** Payload; valid until the next bytes arrive. */
  readonly payload: Uint8Array
  /** Owned by the receiver of the message. */
  readonly descriptors: readonly Descriptor[]
}

/** Maximum number of descriptors that arrive before their message is complete. */
const MAX_DESCRIPTORS = 64

/** Splits a stream into vhost-user messages. @vhost-user Communication */
export class RequestStream extends MessageStream<RawMessage> {
  /** @param version required version bits. @default version 1 */
  constructor(private readonly version: number = MessageFlag.VERSION) {
    super(HEADER_BYTES, MAX_DESCRIPTORS)
  }

  protected measure(view: DataView, at: number): number | string {
    const version = view.getUint32(at + HEADER_FLAGS, true) & MessageFlag.VERSION_MASK
    if (version !== this.version) return `invalid message version ${version}`
    const size = view.getUint32(at + HEADER_SIZE, true)
    return size > MAX_PAYLOAD ? `invalid payload size ${size}` : HEADER_BYTES + size
  }

  protected decode(view: DataView, at: number, payload: Uint8Array, descriptors: readonly Descriptor[]): RawMessage {
    return {
      request: view.getUint32(at + HEADER_REQUEST, true),
      flags: view.getUint32(at + HEADER_FLAGS, true),
      payload,
      descriptors,
    }
  }
}

/** Returns the bytes of a message. */
export function encodeMessage(
  request: number,
  flags: number,
  payload: Uint8Array,
  version: number = MessageFlag.VERSION,
): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(HEADER_REQUEST, request, true)
  view.setUint32(HEADER_FLAGS, flags | version, true)
  view.setUint32(HEADER_SIZE, payload.length, true)
  bytes.set(payload, HEADER_BYTES)
  return bytes
}
