import type { Descriptor } from '../../host/linux/descriptor.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import type { Closable } from '../../host/linux/reactor/reactor.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import type { QueueControl, RingPosition } from '../../virtqueue/device-queue.ts'
import type { VringAddressMessage } from './messages.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Maximum queue size. @virtio 2.6 */
const MAX_SIZE = 32768

/** Guest addresses of a ring's areas, and the regions that hold them. */
export interface RingPlace {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly regions: readonly (MemoryRegion | undefined)[]
}

/** Journal of a ring that can be cleared when the ring is drained. */
export interface Releasable {
  release(): void
}

/** Set-up of one ring by the front-end, and its queue while it is served. @vhost-user Ring states */
export class Vring {
  size: number
  addresses: VringAddressMessage | undefined
  /** Position to start at, from SET_VRING_BASE. */
  base = 0
  /** Position at the last stop, in the same form. Another base afterwards means another driver. */
  stoppedAt: number | undefined
  started = false
  enabled = false
  /** Queue of the device while the ring is served. */
  live: QueueControl | undefined
  place: RingPlace | undefined
  journal: Releasable | undefined
  /** True if its memory was removed while the ring was served. It continues when the memory is mapped again. */
  displaced = false
  /** True if the reason why it cannot be served was logged. */
  loggedRefusal = false
  #kick: EventFd | undefined
  #watch: Closable | undefined
  #call: EventFd | undefined
  #error: EventFd | undefined

  constructor(
    readonly index: number,
    size: number,
  ) {
    this.size = size
  }

  /** True if it has a kick descriptor. */
  get kicked(): boolean {
    return this.#kick !== undefined
  }

  get call(): EventFd | undefined {
    return this.#call
  }

  get error(): EventFd | undefined {
    return this.#error
  }

  setSize(size: number): void {
    if (size < 1 || size > MAX_SIZE)
      throw new VhostUserError(`the size of ring ${this.index} must be 1 to ${MAX_SIZE} (${size})`)
    this.size = size
  }

  /** Sets the kick descriptor. @param watch starts to watch it; if that throws, the descriptor is closed */
  setKick(descriptor: Descriptor | undefined, watch: (event: EventFd) => Closable): void {
    const event = descriptor && EventFd.fromDescriptor(descriptor)
    this.closeKick()
    if (!event) return
    try {
      this.#watch = watch(event)
      this.#kick = event
    } catch (error) {
      event.close()
      throw error
    }
  }

  setCall(descriptor: Descriptor | undefined): void {
    const event = descriptor && EventFd.fromDescriptor(descriptor)
    this.#call?.close()
    this.#call = event
  }

  setError(descriptor: Descriptor | undefined): void {
    const event = descriptor && EventFd.fromDescriptor(descriptor)
    this.#error?.close()
    this.#error = event
  }

  closeKick(): void {
    this.#watch?.close()
    this.#watch = undefined
    this.#kick?.close()
    this.#kick = undefined
  }

  close(): void {
    this.closeKick()
    this.setCall(undefined)
    this.setError(undefined)
  }
}

// Position of a ring in one number                    @vhost-user Vring descriptor indices for packed virtqueues
//
//   split    bits 0-15: next available index
//   packed   bits 0-14: next available descriptor, 15: its wrap counter, 16-30: next used one, 31: its wrap counter
//

/** Decodes a position. @param used used index of a split ring, which is in guest memory */
export function decodeBase(base: number, packed: boolean, size: number, used: number): RingPosition {
  if (!packed) return { available: base & 0xffff, used }
  return { available: position(base & 0xffff, size), used: position(base >>> 16, size) }
}

export function encodeBase({ available, used }: RingPosition, packed: boolean, size: number): number {
  return packed ? (half(available, size) | (half(used, size) << 16)) >>> 0 : available
}

function position(half: number, size: number): number {
  const index = half & 0x7fff
  // An index outside of the ring has no position.
  if (index >= size) return 2 * size
  return (half & 0x8000) !== 0 ? index : size + index
}

function half(position: number, size: number): number {
  return position < size ? position | 0x8000 : position - size
}
