import type { GuestMemory } from '../memory/guest-memory.ts'
import type { MemoryRegion } from '../memory/memory-region.ts'
import { elements, flag, integer, nullable, record, type Shaped } from '../snapshot/shape.ts'
import { SnapshotError } from '../snapshot/snapshot-error.ts'
import type { QueueControl, RingPosition } from '../virtqueue/device-queue.ts'
import type { ShadowRing } from '../virtqueue/shadow-ring.ts'

/** Areas of a queue, as the index of the low address word in `QueueState.addressWords`. @virtio 2.6 */
export const QueueArea = { DESCRIPTOR: 0, DRIVER: 2, DEVICE: 4 } as const
export type QueueArea = (typeof QueueArea)[keyof typeof QueueArea]

const POSITION = record({ available: integer(0, 0xffff), used: integer(0, 0xffff) })
const FIELDS = { addressWords: elements(Uint32Array, 6), enabled: flag, position: nullable(POSITION) }

/** Configuration of a queue in a saved state, and its position if it was in use. */
export type SavedQueue = Shaped<ReturnType<typeof queueShape>>

/** Returns the shape of a saved queue with at most `maxSize` descriptors. */
export function queueShape(maxSize: number) {
  return record({ size: integer(1, maxSize), ...FIELDS })
}

/** Configuration of one queue by the driver, and the queue created from it. */
export class QueueState {
  /** Number of descriptors: `maxSize` until the driver sets it. */
  size: number
  /**
   * Guest addresses of the areas, low word first.
   *
   *     | descriptor lo, hi | driver lo, hi | device lo, hi |
   */
  readonly addressWords = new Uint32Array(6)
  /** True after the driver enabled the queue. Size and addresses are then fixed until a reset. */
  enabled = false
  /** True during a queue reset. @virtio 2.6.1 */
  resetting = false
  /** Queue of the device; set while the queue is enabled, the driver set DRIVER_OK and its rings are in guest memory. */
  live: QueueControl | undefined
  /** Set with bounce memory: fetches the chains. */
  shadowRing: ShadowRing | undefined
  /** Position at which the queue stopped, while its rings are not in guest memory. */
  stoppedAt: RingPosition | undefined
  /** Regions that hold the areas of `live`. */
  #regions: readonly (MemoryRegion | undefined)[] = []

  constructor(readonly maxSize: number) {
    this.size = maxSize
  }

  /** Sets the number of descriptors. Ignores an invalid size. @virtio 4.1.4.3.2 */
  setSize(size: number, packed: boolean): void {
    if (size < 1 || size > this.maxSize) return
    if (!packed && (size & (size - 1)) !== 0) return
    this.size = size
  }

  /**
   * Returns an area's guest address. Above 2^53 low bits are lost, but such an address is outside guest memory anyway.
   */
  address(area: QueueArea): number {
    return this.addressWords[area] + this.addressWords[area + 1] * 2 ** 32
  }

  /**
   * Records the regions of the areas before the queue becomes `live`.
   * @returns the position at which to resume, if any
   */
  begin(memory: GuestMemory): RingPosition | undefined {
    const position = this.stoppedAt
    this.stoppedAt = undefined
    this.#regions = this.#findRegions(memory)
    return position
  }

  /** Whether the queue is `live` and the regions of its areas changed. */
  displaced(memory: GuestMemory): boolean {
    return this.live !== undefined && this.#findRegions(memory).some((region, i) => region !== this.#regions[i])
  }

  /** Whether the queue was stopped and all its areas are in guest memory. */
  returned(memory: GuestMemory): boolean {
    return this.stoppedAt !== undefined && !this.#findRegions(memory).includes(undefined)
  }

  /** Keeps the position of a queue that closes because its memory was removed. Nothing of it is in flight. */
  suspend(): void {
    this.stoppedAt = this.live?.position
    this.live = undefined
    this.#closeShadowRing()
  }

  /** Returns the configuration and the position. @throws {SnapshotError} if chains are in flight */
  save(): SavedQueue {
    const { size, enabled, live } = this
    if (live && live.position.inFlight > 0 && live.broken === undefined) {
      throw new SnapshotError(`queue ${live.index} has ${live.position.inFlight} chains in flight`)
    }
    const at = live?.position ?? this.stoppedAt
    const position = at ? { available: at.available, used: at.used } : null
    return { size, addressWords: this.addressWords.slice(), enabled, position }
  }

  /** Takes a saved configuration. A queue that was in use resumes at its position. */
  restore({ size, addressWords, enabled, position }: SavedQueue): void {
    this.size = size
    this.addressWords.set(addressWords)
    this.enabled = enabled
    this.stoppedAt = position ?? undefined
  }

  /** Returns to the initial state. Pushes of chains in flight have no effect afterwards. */
  reset(): void {
    this.live = undefined
    this.#closeShadowRing()
    this.stoppedAt = undefined
    this.size = this.maxSize
    this.addressWords.fill(0)
    this.enabled = false
    this.resetting = false
  }

  #closeShadowRing(): void {
    this.shadowRing?.close()
    this.shadowRing = undefined
  }

  #findRegions(memory: GuestMemory): (MemoryRegion | undefined)[] {
    return [QueueArea.DESCRIPTOR, QueueArea.DRIVER, QueueArea.DEVICE].map((area) => memory.peek(this.address(area)))
  }
}
