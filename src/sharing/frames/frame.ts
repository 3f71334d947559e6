import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Rect } from '../../services/rect.ts'
import { monotonicTime } from './monotonic-time.ts'
import type { ReceivedBuffer } from './received-buffer.ts'

/** What a frame is about. */
export interface FrameInfo {
  /** The scanout that shows it; undefined where none does, and it is a buffer that is shared. */
  readonly scanout: number | undefined
  readonly buffer: ReceivedBuffer
  /** How the whole picture lies in the buffer. */
  readonly picture: FramebufferLayout
  /** What of the picture it is: all of it, unless a scanout shows a part. */
  readonly source: Rect
  /** What changed since the frame before, inside of `source`, with its top left corner as 0,0. */
  readonly damage: readonly Rect[]
  /** Counts the changes of this scanout, or buffer. */
  readonly sequence: number
  /** Changes since the frame before that are part of this one. */
  readonly merged: number
  /** When the guest made it, in nanoseconds of CLOCK_MONOTONIC. */
  readonly time: number
}

/**
 * Pixels that changed, where they lie. The next frame from there comes when this one is acknowledged; until then the guest goes on,
 * and draws, perhaps, into the same bytes.
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
  /** How many nanoseconds it took to come here. */
  readonly latency: number
  #reading = false
  #done = false

  constructor(
    facts: FrameInfo,
    private readonly done: (frame: Frame) => void,
  ) {
    this.scanout = facts.scanout
    this.buffer = facts.buffer
    this.picture = facts.picture
    this.source = facts.source
    this.damage = facts.damage
    this.sequence = facts.sequence
    this.merged = facts.merged
    this.time = facts.time
    this.latency = Math.max(0, monotonicTime() - facts.time)
  }

  /**
   * The bytes of its buffer, in place, to be read until the frame is acknowledged.
   * @throws {FrameError} where they are not to be had
   */
  get bytes(): Uint8Array {
    const { bytes } = this.buffer
    if (!this.#reading && !this.#done && !this.buffer.released) {
      this.buffer.beginRead()
      this.#reading = true
    }
    return bytes
  }

  /** It is done with: the next may come. */
  acknowledge(): void {
    if (this.#done) return
    this.#done = true
    if (this.#reading && !this.buffer.released) this.buffer.endRead()
    this.done(this)
  }
}
