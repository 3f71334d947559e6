import type { Descriptor } from '../../host/linux/descriptor.ts'
import {
  HEADER_BYTES,
  HEADER_COMMAND,
  HEADER_ERROR,
  HEADER_FLAGS,
  HEADER_ID,
  HEADER_SIZE,
  MessageFlag,
  MOST_DESCRIPTORS,
  MOST_MESSAGE,
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
  /** Whoever takes the message closes them. */
  readonly descriptors: readonly Descriptor[]
}

const NO_DESCRIPTORS: readonly Descriptor[] = []

/**
 * Cuts a stream of bytes into messages, and finds which descriptors came with which.
 *
 *     stream.add(bytes, descriptors)
 *     for (let message = stream.next(); message; message = stream.next()) handle(message)
 *     if (stream.fault) connection.close()
 *
 * Descriptors lie beside the first byte of their message, and what is received at once ends with that message.
 */
export class MessageStream {
  /** Why what comes cannot be understood any more. */
  fault: string | undefined
  /** What is there and not taken is from `#taken` to `#filled`. */
  #bytes = new Uint8Array(0x1000)
  #view = new DataView(this.#bytes.buffer)
  #taken = 0
  #filled = 0
  /** Descriptors, with where in the stream the bytes that they came with end. */
  readonly #descriptors: { readonly descriptor: Descriptor; readonly end: number }[] = []
  /** Where in the stream `#bytes` begins. */
  #start = 0

  add(bytes: Uint8Array, descriptors: readonly Descriptor[] = NO_DESCRIPTORS): void {
    this.#makeRoom(bytes.length)
    this.#bytes.set(bytes, this.#filled)
    this.#filled += bytes.length
    const end = this.#start + this.#filled
    for (const descriptor of descriptors) {
      // More before a message is whole are nobody's intention.
      if (this.#descriptors.length < MOST_DESCRIPTORS) this.#descriptors.push({ descriptor, end })
      else descriptor.close()
    }
  }

  /** @returns undefined where there is no whole message yet, or there never will be */
  next(): RawMessage | undefined {
    const at = this.#taken
    const there = this.#filled - at
    if (this.fault !== undefined || there < HEADER_BYTES) return undefined
    const view = this.#view
    const size = view.getUint32(at + HEADER_SIZE, true)
    const flags = view.getUint32(at + HEADER_FLAGS, true)
    if (size < HEADER_BYTES || size > MOST_MESSAGE) this.fault = `a message of ${size} bytes`
    else if ((flags & MessageFlag.TYPE_MASK) > MessageFlag.REPLY) this.fault = 'neither a command nor a reply'
    if (this.fault !== undefined || there < size) return undefined
    this.#taken += size
    return {
      id: view.getUint16(at + HEADER_ID, true),
      command: view.getUint16(at + HEADER_COMMAND, true),
      flags,
      error: view.getUint32(at + HEADER_ERROR, true),
      payload: this.#bytes.subarray(at + HEADER_BYTES, at + size),
      descriptors: this.#descriptors.length === 0 ? NO_DESCRIPTORS : this.#take(),
    }
  }

  /** Closes what no message took. */
  close(): void {
    this.#taken = this.#filled
    for (const { descriptor } of this.#descriptors.splice(0)) descriptor.close()
  }

  #makeRoom(length: number): void {
    const left = this.#filled - this.#taken
    if (left === 0 || this.#filled + length > this.#bytes.length) {
      if (left + length > this.#bytes.length) {
        const larger = new Uint8Array(2 ** Math.ceil(Math.log2(left + length)))
        larger.set(this.#bytes.subarray(this.#taken, this.#filled))
        this.#bytes = larger
        this.#view = new DataView(larger.buffer)
      } else {
        this.#bytes.copyWithin(0, this.#taken, this.#filled)
      }
      this.#start += this.#taken
      this.#taken = 0
      this.#filled = left
    }
  }

  /** Descriptors that came with bytes which end where the message does, or before. */
  #take(): Descriptor[] {
    const end = this.#start + this.#taken
    let count = 0
    while (count < this.#descriptors.length && this.#descriptors[count].end <= end) count++
    return this.#descriptors.splice(0, count).map(({ descriptor }) => descriptor)
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
