import { copyBytes } from '../../memory/copy-bytes.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { SpanList } from '../../memory/span-list.ts'
import { HEADER_BYTES, MAX_FRAME_BYTES } from '../../services/packet.ts'

/** Size of the length that precedes each frame, most significant byte first. */
export const LENGTH_BYTES = 4
/** Capacity in bytes: several of the largest frames, so that one read receives many small ones. */
const CAPACITY = 4 * 65536

/**
 * Bytes received from a stream of frames and not taken yet.
 *
 *     | taken | length | frame | length | frame | length | fra        |
 *             ^ start                                    end ^
 */
export class FrameBuffer {
  /** Destination of the next read: one span. */
  readonly room = new SpanList(1)
  readonly #region = MemoryRegion.over(0, new Uint8Array(CAPACITY))
  #start = 0
  #end = 0

  constructor() {
    this.clear()
  }

  clear(): void {
    this.#start = 0
    this.#end = 0
    this.#makeRoom()
  }

  /** Adds `length` bytes that were read to `room`. */
  filled(length: number): void {
    this.#end += length
    this.#makeRoom()
  }

  /** Length of the next frame; undefined if it is incomplete. An invalid length is returned at once. */
  get next(): number | undefined {
    const here = this.#end - this.#start
    if (here < LENGTH_BYTES) return undefined
    const bytes = this.#region.u8
    const at = this.#start
    const length = ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0
    return length <= MAX_FRAME_BYTES && length > here - LENGTH_BYTES ? undefined : length
  }

  /** Moves the next frame to a packet, after an empty header. The frame must be complete (see `next`). */
  take(length: number, packet: SpanList): void {
    const { count, regions, offsets, lengths } = packet
    const bytes = this.#region.u8
    regions[0].u8.fill(0, offsets[0], offsets[0] + HEADER_BYTES)
    let at = this.#start + LENGTH_BYTES
    this.#start = at + length
    for (let i = 1; i < count && at < this.#start; i++) {
      const take = Math.min(lengths[i], this.#start - at)
      copyBytes(bytes, at, regions[i].u8, offsets[i], take)
      at += take
    }
    this.#makeRoom()
  }

  /** Updates `room`. Moves the bytes if there would be no room for the rest of the next frame. */
  #makeRoom(): void {
    if (this.#start === this.#end) {
      this.#start = 0
      this.#end = 0
    } else if (CAPACITY - this.#start < LENGTH_BYTES + MAX_FRAME_BYTES) {
      this.#region.u8.copyWithin(0, this.#start, this.#end)
      this.#end -= this.#start
      this.#start = 0
    }
    this.room.clear()
    this.room.add(this.#region, this.#end, CAPACITY - this.#end)
  }
}
