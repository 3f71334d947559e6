import type { GuestMemory } from '../memory/guest-memory.ts'
import type { Chain } from './chain.ts'
import type { ChainJournal } from './chain-journal.ts'

/**
 * A virtqueue as a device sees it, split or packed.
 *
 *     for (let chain = queue.pop(); chain; chain = queue.pop()) queue.push(chain, serve(chain))
 *     queue.publish()
 *
 * Chains may be pushed later and in any order. A malformed chain never reaches the device: it is returned to the driver
 * with length 0 and counted. A ring that can no longer be followed becomes `broken`: nothing is popped or pushed any more.
 */
export interface DeviceQueue {
  readonly index: number
  readonly size: number
  /** Reason why the ring can no longer be followed; undefined while it can. */
  readonly broken: string | undefined
  /**
   * Returns the next available chain. If there is none, asks the driver to notify of the next one and looks at the ring once
   * more, so that a device may go to sleep on undefined.
   */
  pop(): Chain | undefined
  /**
   * Returns a chain to the driver, with the number of bytes written from its writable start. Visible after `publish`. With
   * IN_ORDER, a chain waits for those that were popped before it.
   */
  push(chain: Chain, written: number): void
  /** Makes all pushed chains visible at once, and interrupts the driver if it wants that. */
  publish(): void
}

/** The same queue as its owner sees it, which is the life cycle of the device. */
export interface QueueControl extends DeviceQueue {
  readonly counters: QueueCounters
  readonly position: QueuePosition
  /** Gate of the queue: while false, `pop` returns nothing. @default true */
  open: boolean
  /** True while the queue is polled: driver notifications are disabled. After clearing it, `pop` until empty to enable them. */
  polled: boolean
  /** Returns whether the driver made something available since the last call. */
  hasWork(): boolean
  /** Takes the queue from the device: nothing is popped, and pushing has no effect. @virtio 2.6.1.1.1 */
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
