import type { Writer } from '../../../virtqueue/writer.ts'

/** FIFO of at most `capacity` bytes. Its memory is allocated by the first `put`. */
export class ByteQueue {
  length = 0
  #bytes = new Uint8Array(0)
  #first = 0

  constructor(readonly capacity: number) {}

  /** Appends the bytes of `source` from `offset`. @returns the number of bytes taken, fewer if there is no room */
  put(source: Uint8Array, offset = 0): number {
    const count = Math.min(source.length - offset, this.capacity - this.length)
    if (count <= 0) return 0
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.capacity)
    const at = (this.#first + this.length) % this.capacity
    const before = Math.min(count, this.capacity - at)
    this.#bytes.set(source.subarray(offset, offset + before), at)
    this.#bytes.set(source.subarray(offset + before, offset + count), 0)
    this.length += count
    return count
  }

  /** Moves bytes to a writer. @returns the number of bytes moved */
  moveTo(writer: Writer): number {
    const before = writer.write(this.#bytes, this.#first, Math.min(this.length, this.capacity - this.#first))
    this.#drop(before)
    if (this.#first !== 0) return before
    const after = writer.write(this.#bytes, 0, this.length)
    this.#drop(after)
    return before + after
  }

  /** Returns a copy of the bytes, oldest first. */
  copy(): Uint8Array {
    const bytes = new Uint8Array(this.length)
    const before = Math.min(this.length, this.capacity - this.#first)
    bytes.set(this.#bytes.subarray(this.#first, this.#first + before))
    bytes.set(this.#bytes.subarray(0, this.length - before), before)
    return bytes
  }

  clear(): void {
    this.#drop(this.length)
  }

  #drop(count: number): void {
    this.#first = (this.#first + count) % this.capacity
    this.length -= count
  }
}
