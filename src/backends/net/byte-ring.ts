import { copyBytes } from '../../memory/copy-bytes.ts'
import type { SpanList } from '../../memory/span-list.ts'

const LENGTH_BYTES = 4

/**
 * FIFO of packets in a ring buffer of fixed size.
 *
 *     | length | packet | length | packet | ...
 */
export class ByteRing {
  readonly #bytes: Uint8Array
  #first = 0
  #used = 0

  /** @param capacity size in bytes; must have room for at least one packet */
  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity)
  }

  get empty(): boolean {
    return this.#used === 0
  }

  /** Appends a packet. @returns false if there is no room for all of it */
  write(packet: SpanList): boolean {
    const { count, lengths, offsets, regions, byteLength } = packet
    if (byteLength + LENGTH_BYTES > this.#bytes.length - this.#used) return false
    for (let i = 0; i < LENGTH_BYTES; i++) this.#bytes[this.#at(this.#used + i)] = byteLength >>> (8 * i)
    let at = this.#used + LENGTH_BYTES
    for (let i = 0; i < count; i++) {
      this.#put(at, regions[i].u8, offsets[i], lengths[i])
      at += lengths[i]
    }
    this.#used = at
    return true
  }

  /** Moves the oldest packet to spans; bytes past their end are dropped. @returns its length; 0 if there is none */
  read(packet: SpanList): number {
    if (this.#used === 0) return 0
    let length = 0
    for (let i = 0; i < LENGTH_BYTES; i++) length |= this.#bytes[this.#at(i)] << (8 * i)
    const { count, lengths, offsets, regions } = packet
    let done = 0
    for (let i = 0; i < count && done < length; i++) {
      const take = Math.min(lengths[i], length - done)
      this.#get(LENGTH_BYTES + done, regions[i].u8, offsets[i], take)
      done += take
    }
    this.#first = this.#at(LENGTH_BYTES + length)
    this.#used -= LENGTH_BYTES + length
    return length
  }

  clear(): void {
    this.#used = 0
  }

  #at(offset: number): number {
    return (this.#first + offset) % this.#bytes.length
  }

  #put(offset: number, source: Uint8Array, from: number, length: number): void {
    const at = this.#at(offset)
    const straight = Math.min(length, this.#bytes.length - at)
    copyBytes(source, from, this.#bytes, at, straight)
    copyBytes(source, from + straight, this.#bytes, 0, length - straight)
  }

  #get(offset: number, target: Uint8Array, to: number, length: number): void {
    const at = this.#at(offset)
    const straight = Math.min(length, this.#bytes.length - at)
    copyBytes(this.#bytes, at, target, to, straight)
    copyBytes(this.#bytes, 0, target, to + straight, length - straight)
  }
}
