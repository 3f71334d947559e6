import type { GuestMemory } from '../memory/guest-memory.ts'
import type { Chain } from './chain.ts'
import type { ChainJournal } from './chain-journal.ts'

/**
 * The device's side of a virtqueue, split or packed.
 *
 *     for (let chain = queue.pop(); chain; chain = queue.pop()) queue.push(chain, serve(chain))
 *     queue.publish()
 *
 * Chains may be pushed later and in any order. A malformed chain never reaches the device: it goes back to the driver
 * with length 0 and is counted. A ring that cannot be followed sets `broken`; from then on nothing is popped or pushed.
 */
export interface DeviceQueue {
  readonly index: number
  readonly size: number
  readonly counters: QueueCounters
  /** Why the ring cannot be followed any more, or undefined while it can. */
  readonly broken: string | undefined
  /** Where device and driver stand. */
  readonly position: QueuePosition
  /**
   * Whether somebody looks for `news` all the time, so that the driver need not notify. Once nobody does any more, `pop`
   * until there is nothing: that asks for it again.
   */
  polled: boolean
  /** Whether the driver made something available since this was last asked. */
  hasWork(): boolean
  /**
   * The next chain the driver made available. When there is none, the driver is asked to notify of the next one and
   * the ring is looked at once more, so that a device may return to sleep on undefined.
   */
  pop(): Chain | undefined
  /**
   * Gives a chain back with the number of bytes written from its writable start. Visible to the driver at `publish`.
   * Where buffers were promised in order, a chain waits for those popped before it.
   */
  push(chain: Chain, written: number): void
  /** Makes all pushed chains visible at once, and interrupts the driver if it wants that. */
  publish(): void
  /**
   * The driver took the queue away (reset): from now on nothing is popped, and pushing is harmless and has no effect.
   * @virtio 2.6.1.1.1
   */
  detach(): void
}

/** Counts since the queue was enabled. */
export interface QueueCounters {
  popped: number
  pushed: number
  /** Chains given back unserved because they broke the specification. */
  malformed: number
  /** What was wrong with the last malformed chain. */
  lastFault: string | undefined
  /** Pushes that were ignored, of chains not in flight here: a device's mistake. */
  invalidPushes: number
  interrupts: number
  /** Publications for which the driver wanted no interrupt. */
  suppressed: number
}

/**
 * In a split ring, indices that run freely over 16 bits. In a packed one, positions over two rounds, 0 to 2 * size -
 * 1: in the second the wrap counter is 0.
 */
export interface RingPosition {
  /** Next available entry the device will look at. */
  readonly available: number
  /** Next used entry the device will fill. */
  readonly used: number
}

export interface QueuePosition extends RingPosition {
  /** Chains popped and not yet pushed. */
  readonly inFlight: number
}

/** All that makes a queue: what the driver configured and what was negotiated. */
export interface QueueSetup {
  readonly index: number
  readonly memory: GuestMemory
  /** Descriptors: 1 to 32768; a power of two in a split ring. */
  readonly size: number
  /** Guest addresses. @virtio 2.7, 2.8 */
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly packed: boolean
  readonly eventIdx: boolean
  readonly indirect: boolean
  readonly inOrder: boolean
  /** Where a ring goes on that was in use before; at its beginning unless told. */
  readonly start?: RingPosition | undefined
  /** Told of every chain, and asked for those that were in flight before. */
  readonly journal?: ChainJournal | undefined
  /** Called when the driver is to be interrupted for this queue. */
  readonly interrupt: () => void
  /** Called once when the ring can no longer be followed; at creation already, where it lies outside memory. */
  readonly onBroken: (reason: string) => void
}
