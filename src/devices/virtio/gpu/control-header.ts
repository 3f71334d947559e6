import type { Reader } from '../../../virtqueue/reader.ts'
import type { Writer } from '../../../virtqueue/writer.ts'
import { GpuFlag, type GpuResponse, RINGS } from './protocol.ts'

// Header of every request and every response, 24 bytes                              @virtio 5.7.6.7
//
//   0      4       8          16       20         21     24
//   | type | flags | fence_id | ctx_id | ring_idx | pad  |
//
export const HEADER_SIZE = 24

/** The header of the request at hand, used again for each; and of its response. */
export class ControlHeader {
  type = 0
  /** Without a whole header there is no fence to answer either. */
  whole = false
  #flags = 0
  /** The fence's 64 bits are the driver's own: they go back as they came, in two halves. */
  #fenceLow = 0
  #fenceHigh = 0
  /** The context it is for. */
  context = 0
  #ring = 0

  /** Whether the driver wants to know when all of it is done. */
  get fenced(): boolean {
    return (this.#flags & GpuFlag.FENCE) !== 0
  }

  /** The ring of the context it is on; undefined where there is no such ring. */
  get ring(): number | undefined {
    if ((this.#flags & GpuFlag.INFO_RING_IDX) === 0) return 0
    return this.#ring < RINGS ? this.#ring : undefined
  }

  /** Whether fences of both are reached in their order. */
  sameTimeline(other: ControlHeader): boolean {
    return this.context === other.context && this.ring === other.ring
  }

  /** One that stays, while this is used for the next request. */
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

  /** Writes the response's header: with the fence where the request had one, which by now is reached. */
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
