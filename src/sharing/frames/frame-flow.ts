import { Damage } from '../../services/damage.ts'
import type { Rect } from '../../services/rect.ts'

/** Flow of frames from one source to one consumer: one frame in flight, and the damage meanwhile. */
export class FrameFlow {
  readonly #damage = new Damage()
  /** Sequence number of the unacknowledged frame; 0 if there is none. */
  #outstanding = 0
  /** Changes since the last frame. */
  #changes = 0
  /** Number of changes that were merged into frames with other changes. */
  merged = 0
  frames = 0

  /** True if a frame can be sent. */
  get ready(): boolean {
    return !this.inFlight && !this.#damage.isEmpty
  }

  /** True while a frame is unacknowledged. */
  get inFlight(): boolean {
    return this.#outstanding !== 0
  }

  change(rect: Rect): void {
    this.#damage.add(rect)
    if (this.#changes++ > 0) this.merged++
  }

  /** Damages the whole source. */
  changeAll(): void {
    this.#damage.addAll()
  }

  /** Takes the damage for the next frame. @param sequence its sequence number, not 0 */
  take(size: { readonly width: number; readonly height: number }, sequence: number): Rect[] {
    this.#outstanding = sequence
    this.#changes = 0
    this.frames++
    return this.#damage.take(size)
  }

  /** Acknowledges a frame. @returns false if it is not the one in flight */
  acknowledge(sequence: number): boolean {
    if (!this.inFlight || sequence !== this.#outstanding) return false
    this.#outstanding = 0
    return true
  }
}
