import type { Reader } from '../../../virtqueue/reader.ts'
import type { Writer } from '../../../virtqueue/writer.ts'
import { GpuFlag, type GpuResponse, RINGS } from './protocol.ts'

// Header of every request and every response, 24 bytes                              @virtio 5.7.6.7
//
//   0      4       8          16       20         21     24
//   | type | flags | fence_id | ctx_id | ring_idx | pad  |
//
export const HEADER_SIZE = 24

/** Header of the current request, and of its response. Reused for each request. */
export class ControlHeader {
  type = 0
  /** True if the request has a whole header. Without one its fence is ignored. */
  whole = false
  #flags = 0
  /** fence_id in two halves, since all 64 bits go back to the driver unchanged. */
  #fenceLow = 0
  #fenceHigh = 0
  /** ctx_id: the context that the request is for. */
  context = 0
  #ring = 0

  /** True if the driver asked for a fence: the response is sent when the request is complete. */
  get fenced(): boolean {
    return (this.#flags & GpuFlag.FENCE) !== 0
  }

  /** ring_idx: the ring of the context. 0 without INFO_RING_IDX; undefined if the index is out of range. */
  get ring(): number | undefined {
    if ((this.#flags & GpuFlag.INFO_RING_IDX) === 0) return 0
    return this.#ring < RINGS ? this.#ring : undefined
  }

  /** True if fences of both requests are on the same timeline, hence reached in order. */
  sameTimeline(other: ControlHeader): boolean {
    return this.context === other.context && this.ring === other.ring
  }

  /** Returns a copy that does not change when this object reads the next request. */
  copy(): ControlHeader {
    const copy = new ControlHeader()
    copy.type = this.type
    copy.whole = this.whole
    copy.#flags = this.#flags
    copy.#fenceLow = this.#fenceLow
    copy.#fenceHigh = this.#fenceHigh
    copy.context = this.context
    copy.#ring = this.#ring
    return copy
  }

  read(reader: Reader): void {
    this.whole = reader.remaining >= HEADER_SIZE
    this.type = reader.u32()
    this.#flags = reader.u32()
    this.#fenceLow = reader.u32()
    this.#fenceHigh = reader.u32()
    this.context = reader.u32()
    this.#ring = reader.u8()
    reader.skip(3)
    if (!this.whole) this.#flags = 0
  }

  /** Writes the header of the response. A fenced request's fence is in it: it is reached. */
  respond(writer: Writer, response: GpuResponse): void {
    const { fenced } = this
    const ring = fenced && (this.#flags & GpuFlag.INFO_RING_IDX) !== 0
    writer.u32(response)
    writer.u32((fenced ? GpuFlag.FENCE : 0) | (ring ? GpuFlag.INFO_RING_IDX : 0))
    writer.u32(fenced ? this.#fenceLow : 0)
    writer.u32(fenced ? this.#fenceHigh : 0)
    writer.u32(fenced ? this.context : 0)
    writer.u32(ring ? this.#ring : 0)
  }
}
