import type { Descriptor } from '../../host/linux/descriptor.ts'
import { HEADER_BYTES, HEADER_FLAGS, HEADER_REQUEST, HEADER_SIZE, MessageFlag, MOST_PAYLOAD } from './protocol.ts'

/** A message as it came. */
export interface RawMessage {
  readonly request: number
  readonly flags: number
  readonly payload: Uint8Array
  /** Whoever takes the message closes them. */
  readonly descriptors: readonly Descriptor[]
}

/** Descriptors that may come before their message is whole; more are nobody's intention. */
const MOST_DESCRIPTORS = 64

/**
 * Cuts a stream of bytes into messages, and finds which descriptors came with which.
 *
 *     stream.add(bytes, descriptors)
 *     for (let message = stream.next(); message; message = stream.next()) handle(message)
 *     if (stream.fault) connection.close()
 *
 * Descriptors lie beside the first byte of their message, and what is received at once ends with that message.
 * @vhost-user Communication
 */
export class MessageStream {
  /** Why what comes cannot be understood any more. */
  fault: string | undefined
  #bytes = new Uint8Array(0)
  /** Descriptors, with where in the stream the bytes that they came with end. */
  readonly #descriptors: { readonly descriptor: Descriptor; readonly end: number }[] = []
  /** Where in the stream `#bytes` begins. */
  #start = 0

  /** @param version what messages say of themselves */
  constructor(private readonly version: number = MessageFlag.VERSION) {}

  add(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    const joined = new Uint8Array(this.#bytes.length + bytes.length)
    joined.set(this.#bytes)
    joined.set(bytes, this.#bytes.length)
    this.#bytes = joined
    const end = this.#start + joined.length
    for (const descriptor of descriptors) {
      if (this.#descriptors.length < MOST_DESCRIPTORS) this.#descriptors.push({ descriptor, end })
      else descriptor.close()
    }
  }

  /** @returns undefined where there is no whole message yet, or there never will be */
  next(): RawMessage | undefined {
    const bytes = this.#bytes
    if (this.fault !== undefined || bytes.length < HEADER_BYTES) return undefined
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const flags = view.getUint32(HEADER_FLAGS, true)
    const size = view.getUint32(HEADER_SIZE, true)
    if ((flags & MessageFlag.VERSION_MASK) !== this.version) {
      this.fault = `a message of version ${flags & MessageFlag.VERSION_MASK}`
    } else if (size > MOST_PAYLOAD) {
      this.fault = `a message of ${size} bytes`
    }
    if (this.fault !== undefined || bytes.length < HEADER_BYTES + size) return undefined
    const end = HEADER_BYTES + size
    this.#bytes = bytes.subarray(end)
    this.#start += end
    return {
      request: view.getUint32(HEADER_REQUEST, true),
      flags,
      payload: bytes.subarray(HEADER_BYTES, end),
      descriptors: this.#take(),
    }
  }

  /** Closes what no message took. */
  close(): void {
    this.#bytes = new Uint8Array(0)
    for (const { descriptor } of this.#descriptors.splice(0)) descriptor.close()
  }

  /** Descriptors that came with bytes which end where the message does, or before. */
  #take(): Descriptor[] {
    let count = 0
    while (count < this.#descriptors.length && this.#descriptors[count].end <= this.#start) count++
    return this.#descriptors.splice(0, count).map(({ descriptor }) => descriptor)
  }
}

/** A message, whole. */
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
