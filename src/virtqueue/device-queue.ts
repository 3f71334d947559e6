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
 * with length 0 and counted. A ring that can no longer be followed becomes `broken`: nothing is popped or pushed any
 * more.
 */
export interface DeviceQueue {
  readonly index: number
  readonly size: number
  /** Reason why the ring can no longer be followed; undefined while it can. */
  readonly broken: string | undefined
  /**
   * Returns the next available chain. If there is none, asks the driver to notify of the next one and looks at the ring
   * once more, so that a device may go to sleep on undefined.
   */
  pop(): Chain | undefined
  /**
   * Makes the most recently popped chain available again: the next `pop` returns it. A device uses it for chains that
   * only wait for data, newest first, when their queue stops.
   * @returns false if the chain is not the most recently popped one, or the queue has a journal: it must be pushed
   */
  unpop(chain: Chain): boolean
  /**
   * Returns a chain to the driver, with the number of bytes written from its writable start. Visible after `publish`.
   * With IN_ORDER, a chain waits for those that were popped before it.
   */
  push(chain: Chain, written: number): void
  /** Makes all pushed chains visible at once, and interrupts the driver unless it suppressed the interrupt. */
  publish(): void
}

/** The same queue as its owner sees it, which is the life cycle of the device. */
export interface QueueControl extends DeviceQueue {
  readonly counters: QueueCounters
  readonly position: QueuePosition
  /** Gate of the queue: while false, `pop` returns nothing. @default true */
  open: boolean
  /**
   * True while the queue is polled: driver notifications are disabled. After clearing it, `pop` until empty to enable
   * them.
   */
  polled: boolean
  /** Returns true if the driver made chains available that no earlier call reported and that were not popped. */
  hasWork(): boolean
  /** Takes the queue from the device: nothing is popped, and pushing has no effect. @virtio 2.6.1.1.1 */
  detach(): void
}

/** Counters since the queue was enabled. */
export interface QueueCounters {
  popped: number
  pushed: number
  /** Malformed chains, which were returned with length 0. */
  malformed: number
  /** Fault of the last malformed chain. */
  lastFault: string | undefined
  /** Ignored pushes of chains that were not in flight in this queue: bugs of the device. */
  invalidPushes: number
  interrupts: number
  /** Calls of `publish` after which the driver had suppressed the interrupt. */
  suppressed: number
}

/**
 * Position of the device in a ring. Split ring: free-running 16-bit indices. Packed ring: positions over two rounds,
 * 0 to 2 * size - 1, with wrap counter 1 in the first round and 0 in the second.
 */
export interface RingPosition {
  /** Next available entry that the device reads. */
  readonly available: number
  /** Next used entry that the device fills. */
  readonly used: number
}

export interface QueuePosition extends RingPosition {
  /** Number of chains popped and not yet pushed. */
  readonly inFlight: number
}

/** Configuration of a queue: sizes and addresses that the driver set, and negotiated features. */
export interface QueueSetup {
  readonly index: number
  readonly memory: GuestMemory
  /** Number of descriptors, 1 to 32768; a power of two in a split ring. */
  readonly size: number
  /** Guest addresses of the three areas. @virtio 2.7, 2.8 */
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly packed: boolean
  readonly eventIdx: boolean
  readonly indirect: boolean
  readonly inOrder: boolean
  /** Position at which a ring that was in use before is resumed. @default position 0 */
  readonly start?: RingPosition | undefined
  /** Records every chain, and supplies the chains that were in flight before. @default no journal */
  readonly journal?: ChainJournal | undefined
  /** Called to interrupt the driver for this queue. */
  readonly interrupt: () => void
  /** Called once when the queue breaks, during creation if the configuration is invalid. */
  readonly onBroken: (reason: string) => void
}
