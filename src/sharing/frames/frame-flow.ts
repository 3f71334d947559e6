import { Damage } from '../../services/damage.ts'
import type { Rect } from '../../services/rect.ts'

/** Frames of one source on their way to one consumer: one at a time, and what changed meanwhile. */
export class FrameFlow {
  readonly #damage = new Damage()
  /** The frame that is not acknowledged; 0 where there is none. */
  #outstanding = 0
  /** Changes since the last frame. */
  #changes = 0
  /** Changes that no frame of their own told of. */
  merged = 0
  frames = 0

  /** There is a frame to be sent, and nothing in its way. */
  get ready(): boolean {
    return !this.waits && !this.#damage.isEmpty
  }

  /** The frame before is not acknowledged. */
  get waits(): boolean {
    return this.#outstanding !== 0
  }

  change(rect: Rect): void {
    this.#damage.add(rect)
    if (this.#changes++ > 0) this.merged++
  }

  /** Nothing that was seen before counts. */
  changeAll(): void {
    this.#damage.addAll()
  }

  /** What the next frame tells. @param sequence its number, not 0 */
  take(size: { readonly width: number; readonly height: number }, sequence: number): Rect[] {
    this.#outstanding = sequence
    this.#changes = 0
    this.frames++
    return this.#damage.take(size)
  }

  /** @returns whether that is the frame there is */
  acknowledge(sequence: number): boolean {
    if (!this.waits || sequence !== this.#outstanding) return false
    this.#outstanding = 0
    return true
  }
}
