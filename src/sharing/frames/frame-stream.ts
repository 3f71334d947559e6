import type { Descriptor } from '../../host/linux/descriptor.ts'
import { MessageStream } from '../../host/socket/message-stream.ts'
import { HEADER_BYTES } from './protocol.ts'

/** Complete message, not yet parsed. */
export interface RawMessage {
  readonly type: number
  /** Payload; valid until the next bytes arrive. */
  readonly payload: Uint8Array
  readonly descriptors: readonly Descriptor[]
}

/** Splits the stream of an export socket into messages. */
export class FrameStream extends MessageStream<RawMessage> {
  readonly #maxBytes: number

  /**
   * @param mostBytes maximum length of a message, in bytes
   * @param mostDescriptors maximum number of descriptors of a message
   */
  constructor(mostBytes: number, mostDescriptors: number) {
    super(HEADER_BYTES, mostDescriptors)
    this.#maxBytes = mostBytes
  }

  protected measure(view: DataView, at: number): number | string {
    const size = view.getUint32(at, true)
    if (size >= HEADER_BYTES && size <= this.#maxBytes) return size
    return `a message of ${size} bytes (must be ${HEADER_BYTES} to ${this.#maxBytes})`
  }

  protected decode(view: DataView, at: number, payload: Uint8Array, descriptors: readonly Descriptor[]): RawMessage {
    return { type: view.getUint32(at + 4, true), payload, descriptors }
  }
}
