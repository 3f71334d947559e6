import { copyBytes } from '../memory/copy-bytes.ts'
import type { SpanList } from '../memory/span-list.ts'
import type { Writer } from './writer.ts'

/**
 * Reads the device-readable part of a chain in order, independent of how it is divided into descriptors.
 * @virtio 2.7.4.1
 *
 * No method throws: past the end, numbers read as 0 and byte reads are short. Check `remaining` first.
 */
export class Reader {
  /** Bytes not yet read. */
  remaining = 0
  #spans: SpanList
  #end = 0
  #index = 0
  #at = 0

  constructor(spans: SpanList) {
    this.#spans = spans
  }

  /** Starts at the first of `count` spans with `length` bytes in total. Called by the queue for each chain. */
  rewind(count: number, length: number): void {
    this.#end = count
    this.#index = 0
    this.#at = 0
    this.remaining = length
  }

  u8(): number {
    const spans = this.#spans
    while (this.#index < this.#end) {
      if (this.#at < spans.lengths[this.#index]) {
        this.remaining--
        return spans.regions[this.#index].u8[spans.offsets[this.#index] + this.#at++]
      }
      this.#index++
      this.#at = 0
    }
    return 0
  }

  u16(): number {
    return this.u8() | (this.u8() << 8)
  }

  u32(): number {
    const spans = this.#spans
    const index = this.#index
    if (index < this.#end && spans.lengths[index] - this.#at >= 4) {
      const bytes = spans.regions[index].u8
      const at = spans.offsets[index] + this.#at
      this.#at += 4
      this.remaining -= 4
      return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
    }
    return (this.u16() | (this.u16() << 16)) >>> 0
  }

  /** Reads a 64-bit number: exact below 2^53, else rounded to a number that is at least 2^53. */
  u64(): number {
    const low = this.u32()
    return low + this.u32() * 2 ** 32
  }

  /** Copies up to `length` bytes to `target[offset...]`. @returns the bytes copied: fewer at the end of the chain */
  read(target: Uint8Array, offset = 0, length = target.length - offset): number {
    const spans = this.#spans
    const want = Math.min(length, target.length - offset)
    let done = 0
    while (done < want && this.#index < this.#end) {
      const take = Math.min(want - done, spans.lengths[this.#index] - this.#at)
      copyBytes(spans.regions[this.#index].u8, spans.offsets[this.#index] + this.#at, target, offset + done, take)
      done += take
      this.#advance(take)
    }
    return done
  }

  /** Fills `target` if enough bytes remain, else reads nothing. @returns whether enough bytes remained */
  readExactly(target: Uint8Array): boolean {
    if (this.remaining < target.length) return false
    this.read(target)
    return true
  }

  /** Skips up to `length` bytes. @returns the bytes skipped */
  skip(length: number): number {
    let done = 0
    while (done < length && this.#index < this.#end) {
      const take = Math.min(length - done, this.#spans.lengths[this.#index] - this.#at)
      done += take
      this.#advance(take)
    }
    return done
  }

  /** Copies up to `length` bytes to `writer`. @returns the bytes copied: fewer at the end of either */
  copyTo(writer: Writer, length = this.remaining): number {
    const spans = this.#spans
    let done = 0
    while (done < length && this.#index < this.#end && writer.remaining > 0) {
      const take = Math.min(length - done, spans.lengths[this.#index] - this.#at)
      const took = writer.write(spans.regions[this.#index].u8, spans.offsets[this.#index] + this.#at, take)
      done += took
      this.#advance(took)
    }
    return done
  }

  #advance(bytes: number): void {
    this.#at += bytes
    this.remaining -= bytes
    if (this.#at >= this.#spans.lengths[this.#index]) {
      this.#index++
      this.#at = 0
    }
  }
}
