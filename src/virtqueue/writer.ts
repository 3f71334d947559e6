import { copyBytes } from '../memory/copy-bytes.ts'
import type { SpanList } from '../memory/span-list.ts'

/**
 * Fills the device-writable part of a chain in order, independent of how it is divided into descriptors.
 *
 * No method throws: bytes that do not fit are not written, and methods that take a length return the bytes written.
 */
export class Writer {
  /** Bytes that can still be written. */
  remaining = 0
  /** Bytes written so far, which is the argument for `DeviceQueue.push`. */
  written = 0
  #spans: SpanList
  #end = 0
  #index = 0
  #at = 0

  constructor(spans: SpanList) {
    this.#spans = spans
  }

  /** Starts at span `first` and ends before span `end`: `length` bytes in total. Called by the queue for each chain. */
  rewind(first: number, end: number, length: number): void {
    this.#index = first
    this.#end = end
    this.#at = 0
    this.remaining = length
    this.written = 0
  }

  u8(value: number): void {
    const spans = this.#spans
    while (this.#index < this.#end) {
      if (this.#at < spans.lengths[this.#index]) {
        spans.regions[this.#index].u8[spans.offsets[this.#index] + this.#at++] = value
        this.remaining--
        this.written++
        return
      }
      this.#index++
      this.#at = 0
    }
  }

  u16(value: number): void {
    this.u8(value)
    this.u8(value >>> 8)
  }

  u32(value: number): void {
    const spans = this.#spans
    const index = this.#index
    if (index < this.#end && spans.lengths[index] - this.#at >= 4) {
      const bytes = spans.regions[index].u8
      const at = spans.offsets[index] + this.#at
      bytes[at] = value
      bytes[at + 1] = value >>> 8
      bytes[at + 2] = value >>> 16
      bytes[at + 3] = value >>> 24
      this.#advance(4)
      return
    }
    this.u16(value)
    this.u16(value >>> 16)
  }

  /** Writes a 64-bit number. @param value 0 to 2^53 - 1 */
  u64(value: number): void {
    this.u32(value % 2 ** 32)
    this.u32(Math.floor(value / 2 ** 32))
  }

  /** Writes up to `length` bytes of `source[offset...]`. @returns the bytes written: fewer at the end of the chain */
  write(source: Uint8Array, offset = 0, length = source.length - offset): number {
    const spans = this.#spans
    const want = Math.min(length, source.length - offset)
    let done = 0
    while (done < want && this.#index < this.#end) {
      const take = Math.min(want - done, spans.lengths[this.#index] - this.#at)
      copyBytes(source, offset + done, spans.regions[this.#index].u8, spans.offsets[this.#index] + this.#at, take)
      done += take
      this.#advance(take)
    }
    return done
  }

  /** Calls `fill` with each remaining span, which it must fill completely. @returns the bytes filled */
  fill(fill: (bytes: Uint8Array) => void): number {
    const before = this.written
    const spans = this.#spans
    while (this.#index < this.#end) {
      const start = spans.offsets[this.#index] + this.#at
      const take = spans.lengths[this.#index] - this.#at
      if (take > 0) fill(spans.regions[this.#index].u8.subarray(start, start + take))
      this.#advance(take)
    }
    return this.written - before
  }

  /** Skips up to `length` bytes, which count as written. @returns the bytes skipped */
  skip(length: number): number {
    let done = 0
    while (done < length && this.#index < this.#end) {
      const take = Math.min(length - done, this.#spans.lengths[this.#index] - this.#at)
      done += take
      this.#advance(take)
    }
    return done
  }

  /** Writes up to `length` zero bytes. @returns the bytes written */
  zero(length: number): number {
    const spans = this.#spans
    let done = 0
    while (done < length && this.#index < this.#end) {
      const take = Math.min(length - done, spans.lengths[this.#index] - this.#at)
      const start = spans.offsets[this.#index] + this.#at
      spans.regions[this.#index].u8.fill(0, start, start + take)
      done += take
      this.#advance(take)
    }
    return done
  }

  #advance(bytes: number): void {
    this.#at += bytes
    this.written += bytes
    this.remaining -= bytes
    if (this.#at >= this.#spans.lengths[this.#index]) {
      this.#index++
      this.#at = 0
    }
  }
}
