import type { Descriptor } from '../linux/descriptor.ts'

const NO_DESCRIPTORS: readonly Descriptor[] = []

/**
 * Splits a stream of bytes into messages, and assigns the descriptors to them. Subclasses parse the headers of their
 * protocol.
 *
 *     stream.add(bytes, descriptors)
 *     for (let message = stream.next(); message; message = stream.next()) handle(message)
 *     if (stream.fault) connection.close()
 *
 * Descriptors arrive with the first byte of their message, and one read never continues past that message.
 */
export abstract class MessageStream<M> {
  /** Reason why the stream is invalid; undefined while it is valid. No message follows. */
  fault: string | undefined
  readonly #headerBytes: number
  readonly #maxDescriptors: number
  /** Received bytes. Those of incomplete or not yet returned messages are from `#taken` to `#filled`. */
  #bytes = new Uint8Array(0x1000)
  #view = new DataView(this.#bytes.buffer)
  #taken = 0
  #filled = 0
  /** Descriptors, each with the stream position of the end of the bytes it arrived with. */
  readonly #descriptors: { readonly descriptor: Descriptor; readonly end: number }[] = []
  /** Stream position of the first byte of `#bytes`. */
  #start = 0

  /**
   * @param headerBytes size of the header of every message
   * @param maxDescriptors maximum number of descriptors that arrive before their message is complete
   */
  constructor(headerBytes: number, maxDescriptors: number) {
    this.#headerBytes = headerBytes
    this.#maxDescriptors = maxDescriptors
  }

  /** True if part of a message has arrived. */
  get partial(): boolean {
    return this.#filled > this.#taken
  }

  add(bytes: Uint8Array, descriptors: readonly Descriptor[] = NO_DESCRIPTORS): void {
    this.#makeRoom(bytes.length)
    this.#bytes.set(bytes, this.#filled)
    this.#filled += bytes.length
    const end = this.#start + this.#filled
    for (const descriptor of descriptors) {
      if (this.#descriptors.length < this.#maxDescriptors) this.#descriptors.push({ descriptor, end })
      else descriptor.close()
    }
  }

  /** Returns the size in bytes of the message whose header is at `at`, or the reason why it is invalid. */
  protected abstract measure(view: DataView, at: number): number | string
  /**
   * Returns the message whose header is at `at`.
   * @param payload bytes after the header, valid until the next `add`
   */
  protected abstract decode(view: DataView, at: number, payload: Uint8Array, descriptors: readonly Descriptor[]): M

  /** Returns the next message; undefined if none is complete or the stream is invalid. */
  next(): M | undefined {
    const at = this.#taken
    const available = this.#filled - at
    if (this.fault !== undefined || available < this.#headerBytes) return undefined
    const size = this.measure(this.#view, at)
    if (typeof size === 'string') this.fault = size
    else if (available >= size) {
      this.#taken += size
      const payload = this.#bytes.subarray(at + this.#headerBytes, at + size)
      return this.decode(this.#view, at, payload, this.#descriptors.length === 0 ? NO_DESCRIPTORS : this.#take())
    }
    return undefined
  }

  /** Drops the received bytes, and closes the descriptors that belong to no message yet. */
  close(): void {
    this.#taken = this.#filled
    for (const { descriptor } of this.#descriptors.splice(0)) descriptor.close()
  }

  #makeRoom(length: number): void {
    const unread = this.#filled - this.#taken
    if (unread === 0 || this.#filled + length > this.#bytes.length) {
      if (unread + length > this.#bytes.length) {
        const larger = new Uint8Array(2 ** Math.ceil(Math.log2(unread + length)))
        larger.set(this.#bytes.subarray(this.#taken, this.#filled))
        this.#bytes = larger
        this.#view = new DataView(larger.buffer)
      } else {
        this.#bytes.copyWithin(0, this.#taken, this.#filled)
      }
      this.#start += this.#taken
      this.#taken = 0
      this.#filled = unread
    }
  }

  /** Takes the descriptors that arrived with bytes up to the end of the message. */
  #take(): Descriptor[] {
    const end = this.#start + this.#taken
    let count = 0
    while (count < this.#descriptors.length && this.#descriptors[count].end <= end) count++
    return this.#descriptors.splice(0, count).map(({ descriptor }) => descriptor)
  }
}
