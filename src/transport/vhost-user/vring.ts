import type { Descriptor } from '../../host/linux/descriptor.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import type { Closable } from '../../host/linux/reactor/reactor.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import type { QueueControl, RingPosition } from '../../virtqueue/device-queue.ts'
import type { VringAddressMessage } from './messages.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Of the virtio specification: the longest queue there is. */
const MAX_SIZE = 32768

/** A ring's areas as guest addresses, and in which regions they were found. */
export interface RingPlace {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly regions: readonly (MemoryRegion | undefined)[]
}

/** What is needed to give a ring's journal back when the ring is drained. */
export interface Releasable {
  release(): void
}

/** One ring as the front-end set it up, and the queue made of it while it is served. @vhost-user Ring states */
export class Vring {
  size: number
  addresses: VringAddressMessage | undefined
  /** Where it goes on, as SET_VRING_BASE said. */
  base = 0
  /** Where it stood when it was stopped last, in the same form: another base after that is another driver's. */
  stoppedAt: number | undefined
  started = false
  enabled = false
  /** The queue, from when it is started and enabled until it is stopped. */
  live: QueueControl | undefined
  place: RingPlace | undefined
  journal: Releasable | undefined
  /** Its memory was taken away while it was served: it waits for that to come back. */
  displaced = false
  /** It was told that it waits for memory, or has failed; said once. */
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

  /** There is a descriptor that tells of new requests. */
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
    if (size < 1 || size > MAX_SIZE) throw new VhostUserError(`ring ${this.index} of ${size} descriptors`)
    this.size = size
  }

  /** @param watch begins to watch it; where that fails the descriptor is closed */
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

// Where a ring goes on, in one number                 @vhost-user Vring descriptor indices for packed virtqueues
//
//   split    bits 0-15: next available index
//   packed   bits 0-14: next available descriptor, 15: its wrap counter, 16-30: next used one, 31: its wrap counter
//

/** @param used of a split ring, which has it in memory */
export function decodeBase(base: number, packed: boolean, size: number, used: number): RingPosition {
  if (!packed) return { available: base & 0xffff, used }
  return { available: position(base & 0xffff, size), used: position(base >>> 16, size) }
}

export function encodeBase({ available, used }: RingPosition, packed: boolean, size: number): number {
  return packed ? (half(available, size) | (half(used, size) << 16)) >>> 0 : available
}

function position(half: number, size: number): number {
  const index = half & 0x7fff
  // Out of the ring it is nowhere in either round.
  if (index >= size) return 2 * size
  return (half & 0x8000) !== 0 ? index : size + index
}

function half(position: number, size: number): number {
  return position < size ? position | 0x8000 : position - size
}
