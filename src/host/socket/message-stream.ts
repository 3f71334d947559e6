import type { Descriptor } from '../linux/descriptor.ts'

const NO_DESCRIPTORS: readonly Descriptor[] = []

/**
 * Cuts a stream of bytes into messages, and finds which descriptors came with which. What a header says is the protocol's, in the
 * classes that extend this.
 *
 *     stream.add(bytes, descriptors)
 *     for (let message = stream.next(); message; message = stream.next()) handle(message)
 *     if (stream.fault) connection.close()
 *
 * Descriptors lie beside the first byte of their message, and what is received at once ends with that message.
 */
export abstract class MessageStream<M> {
  /** Why what comes cannot be understood any more. */
  fault: string | undefined
  readonly #headerBytes: number
  readonly #mostDescriptors: number
  /** What is there and not taken is from `#taken` to `#filled`. */
  #bytes = new Uint8Array(0x1000)
  #view = new DataView(this.#bytes.buffer)
  #taken = 0
  #filled = 0
  /** Descriptors, with where in the stream the bytes that they came with end. */
  readonly #descriptors: { readonly descriptor: Descriptor; readonly end: number }[] = []
  /** Where in the stream `#bytes` begins. */
  #start = 0

  /**
   * @param headerBytes what every message begins with
   * @param mostDescriptors maximum number of descriptors that arrive before their message is complete
   */
  constructor(headerBytes: number, mostDescriptors: number) {
    this.#headerBytes = headerBytes
    this.#mostDescriptors = mostDescriptors
  }

  /** Something came that is not a whole message yet. */
  get partial(): boolean {
    return this.#filled > this.#taken
  }

  add(bytes: Uint8Array, descriptors: readonly Descriptor[] = NO_DESCRIPTORS): void {
    this.#makeRoom(bytes.length)
    this.#bytes.set(bytes, this.#filled)
    this.#filled += bytes.length
    const end = this.#start + this.#filled
    for (const descriptor of descriptors) {
      if (this.#descriptors.length < this.#mostDescriptors) this.#descriptors.push({ descriptor, end })
      else descriptor.close()
    }
  }

  /** Bytes of the whole message whose header is at `at`, or why it cannot be understood. */
  protected abstract measure(view: DataView, at: number): number | string
  /** @param payload what follows the header; valid until the stream is added to */
  protected abstract decode(view: DataView, at: number, payload: Uint8Array, descriptors: readonly Descriptor[]): M

  /** @returns undefined where there is no whole message yet, or there never will be */
  next(): M | undefined {
    const at = this.#taken
    const there = this.#filled - at
    if (this.fault !== undefined || there < this.#headerBytes) return undefined
    const size = this.measure(this.#view, at)
    if (typeof size === 'string') this.fault = size
    else if (there >= size) {
      this.#taken += size
      const payload = this.#bytes.subarray(at + this.#headerBytes, at + size)
      return this.decode(this.#view, at, payload, this.#descriptors.length === 0 ? NO_DESCRIPTORS : this.#take())
    }
    return undefined
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
