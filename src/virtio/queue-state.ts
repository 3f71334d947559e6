import type { GatedQueue } from './gated-queue.ts'

/** Which of a queue's three areas, as the index of its low word in `QueueState.addressWords`. @virtio 2.6 */
export const QueueArea = { DESCRIPTOR: 0, DRIVER: 2, DEVICE: 4 } as const
export type QueueArea = (typeof QueueArea)[keyof typeof QueueArea]

/** What the driver configured for one queue, and the queue made of it. */
export class QueueState {
  /** Descriptors: the largest number until the driver asks for fewer. */
  size: number
  /**
   * Guest addresses of the areas, low word first.
   *
   *     | descriptor lo, hi | driver lo, hi | device lo, hi |
   */
  readonly addressWords = new Uint32Array(6)
  /** The driver enabled it; once it did, nothing of the above changes until a reset. */
  enabled = false
  /** A queue reset is going on. @virtio 2.6.1 */
  resetting = false
  /** The queue itself, from DRIVER_OK on while enabled. */
  live: GatedQueue | undefined

  constructor(readonly maxSize: number) {
    this.size = maxSize
  }

  /** A size the ring cannot have is ignored. @virtio 4.1.4.3.2 */
  setSize(size: number, packed: boolean): void {
    if (size < 1 || size > this.maxSize) return
    if (!packed && (size & (size - 1)) !== 0) return
    this.size = size
  }

  /** An address above 2^53 loses its low bits here, and is outside any guest's memory either way. */
  address(area: QueueArea): number {
    return this.addressWords[area] + this.addressWords[area + 1] * 2 ** 32
  }

  /** As before any driver; what is still in flight goes nowhere. */
  reset(): void {
    this.live?.detach()
    this.live = undefined
    this.size = this.maxSize
    this.addressWords.fill(0)
    this.enabled = false
    this.resetting = false
  }
}
