import type { Descriptor } from '../../host/linux/descriptor.ts'
import { MessageStream } from '../../host/socket/message-stream.ts'
import { HEADER_BYTES } from './protocol.ts'

/** A message that is whole, and not looked at yet. */
export interface RawMessage {
  readonly type: number
  /** Valid until the stream is added to. */
  readonly payload: Uint8Array
  readonly descriptors: readonly Descriptor[]
}

/** Cuts what comes over an export socket into messages. */
export class FrameStream extends MessageStream<RawMessage> {
  readonly #mostBytes: number

  /**
   * @param mostBytes that a message has
   * @param mostDescriptors that come with one
   */
  constructor(mostBytes: number, mostDescriptors: number) {
    super(HEADER_BYTES, mostDescriptors)
    this.#mostBytes = mostBytes
  }

  protected measure(view: DataView, at: number): number | string {
    const size = view.getUint32(at, true)
    if (size >= HEADER_BYTES && size <= this.#mostBytes) return size
    return `a message of ${size} bytes, where they have ${HEADER_BYTES} to ${this.#mostBytes}`
  }

  protected decode(view: DataView, at: number, payload: Uint8Array, descriptors: readonly Descriptor[]): RawMessage {
    return { type: view.getUint32(at + 4, true), payload, descriptors }
  }
}
