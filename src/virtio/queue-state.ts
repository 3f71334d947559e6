import type { GuestMemory } from '../memory/guest-memory.ts'
import type { MemoryRegion } from '../memory/memory-region.ts'
import type { QueueControl, RingPosition } from '../virtqueue/device-queue.ts'
import type { ShadowRing } from '../virtqueue/shadow-ring.ts'

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
  live: QueueControl | undefined
  /** What brings its chains here, where memory is elsewhere. */
  distant: ShadowRing | undefined
  /** Where it stood when its memory went, while it waits for that to come back. */
  stoppedAt: RingPosition | undefined
  /** Where the areas of `live` were found. */
  #regions: readonly (MemoryRegion | undefined)[] = []

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

  /** It becomes `live` in this memory. @returns where in the ring */
  begin(memory: GuestMemory): RingPosition | undefined {
    const position = this.stoppedAt
    this.stoppedAt = undefined
    this.#regions = this.#find(memory)
    return position
  }

  /** Its memory went, and what is there now, if anything, is another. */
  displaced(memory: GuestMemory): boolean {
    return this.live !== undefined && this.#find(memory).some((region, i) => region !== this.#regions[i])
  }

  /** It waits for its memory, and that is there. */
  returned(memory: GuestMemory): boolean {
    return this.stoppedAt !== undefined && !this.#find(memory).includes(undefined)
  }

  /** Keeps the position of a queue that closes because its memory was removed. Nothing of it is in flight. */
  suspend(): void {
    this.stoppedAt = this.live?.position
    this.live = undefined
    this.#forgetDistant()
  }

  /** As before any driver; what is still in flight goes nowhere. */
  reset(): void {
    this.live = undefined
    this.#forgetDistant()
    this.stoppedAt = undefined
    this.size = this.maxSize
    this.addressWords.fill(0)
    this.enabled = false
    this.resetting = false
  }

  #forgetDistant(): void {
    this.distant?.close()
    this.distant = undefined
  }

  #find(memory: GuestMemory): (MemoryRegion | undefined)[] {
    return [QueueArea.DESCRIPTOR, QueueArea.DRIVER, QueueArea.DEVICE].map((area) => memory.peek(this.address(area)))
  }
}
