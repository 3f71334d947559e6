/** Last bytes of an output, for a viewer that connects after them. */
export class OutputTail {
  readonly #ring: Uint8Array
  /** Number of bytes that were ever added. */
  #added = 0

  /** @param capacity maximum number of bytes that are kept */
  constructor(capacity: number) {
    this.#ring = new Uint8Array(capacity)
  }

  add(bytes: Uint8Array): void {
    const { length } = this.#ring
    const last = bytes.subarray(Math.max(0, bytes.length - length))
    const at = (this.#added + bytes.length - last.length) % length
    const first = last.subarray(0, length - at)
    this.#ring.set(first, at)
    this.#ring.set(last.subarray(first.length))
    this.#added += bytes.length
  }

  /** Returns a copy of the bytes, oldest first. */
  read(): Uint8Array {
    const { length } = this.#ring
    if (this.#added <= length) return this.#ring.slice(0, this.#added)
    const at = this.#added % length
    const bytes = new Uint8Array(length)
    bytes.set(this.#ring.subarray(at))
    bytes.set(this.#ring.subarray(0, at), length - at)
    return bytes
  }
}
