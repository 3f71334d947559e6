import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Rect } from '../../services/rect.ts'
import { monotonicTime } from './monotonic-time.ts'
import type { ReceivedBuffer } from './received-buffer.ts'

/** Description of a frame. */
export interface FrameInfo {
  /** Scanout of the frame; undefined for a shared buffer that no scanout shows. */
  readonly scanout: number | undefined
  readonly buffer: ReceivedBuffer
  /** Layout of the whole framebuffer in the buffer. */
  readonly picture: FramebufferLayout
  /** Part of the framebuffer that the frame shows. */
  readonly source: Rect
  /** Damage since the previous frame, relative to the top left corner of `source`. */
  readonly damage: readonly Rect[]
  /** Sequence number of the change of this scanout or buffer. */
  readonly sequence: number
  /** Number of changes since the previous frame that this one merges. */
  readonly merged: number
  /** Time of the change, in nanoseconds of CLOCK_MONOTONIC. */
  readonly time: number
}

/**
 * Frame: pixels of a source that changed, in place. The next frame of the source follows the acknowledgement. The guest
 * continues to draw, possibly into the same bytes.
 */
export class Frame implements FrameInfo {
  readonly scanout: number | undefined
  readonly buffer: ReceivedBuffer
  readonly picture: FramebufferLayout
  readonly source: Rect
  readonly damage: readonly Rect[]
  readonly sequence: number
  readonly merged: number
  readonly time: number
  /** Nanoseconds from the change to the receipt. */
  readonly latency: number
  #reading = false
  #done = false

  constructor(
    info: FrameInfo,
    private readonly done: (frame: Frame) => void,
  ) {
    this.scanout = info.scanout
    this.buffer = info.buffer
    this.picture = info.picture
    this.source = info.source
    this.damage = info.damage
    this.sequence = info.sequence
    this.merged = info.merged
    this.time = info.time
    this.latency = Math.max(0, monotonicTime() - info.time)
  }

  /**
   * Bytes of the buffer, in place; valid until the frame is acknowledged.
   * @throws {FrameError} if they are not shared
   */
  get bytes(): Uint8Array {
    const { bytes } = this.buffer
    if (!this.#reading && !this.#done && !this.buffer.released) {
      this.buffer.beginRead()
      this.#reading = true
    }
    return bytes
  }

  /** Acknowledges the frame, which allows the next one. */
  acknowledge(): void {
    if (this.#done) return
    this.#done = true
    if (this.#reading && !this.buffer.released) this.buffer.endRead()
    this.done(this)
  }
}
