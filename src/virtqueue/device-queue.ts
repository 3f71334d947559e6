import type { GuestMemory } from '../memory/guest-memory.ts'
import type { Chain } from './chain.ts'
import type { ChainJournal } from './chain-journal.ts'

/**
 * The device's side of a virtqueue, split or packed.
 *
 *     for (let chain = queue.pop(); chain; chain = queue.pop()) queue.push(chain, serve(chain))
 *     queue.publish()
 *
 * Chains may be pushed later and in any order. A malformed chain is never popped: it is returned to the driver with
 * length 0 and counted. A ring that cannot be followed sets `broken`; nothing is popped or pushed after that.
 */
export interface DeviceQueue {
  readonly index: number
  readonly size: number
  readonly counters: QueueCounters
  /** Reason why the ring can no longer be followed; undefined while it can. */
  readonly broken: string | undefined
  /** Available and used positions, and the number of chains in flight. */
  readonly position: QueuePosition
  /**
   * True while the queue is polled: `pop` does not enable driver notifications. After clearing it, `pop` until empty to
   * enable them again.
   * @default false
   */
  polled: boolean
  /** Returns true if the driver made chains available that no earlier call reported and that were not popped. */
  hasWork(): boolean
  /**
   * Returns the next available chain. If there is none, enables driver notifications, checks the ring once more and
   * returns undefined: the device may then sleep until it is notified.
   */
  pop(): Chain | undefined
  /**
   * Returns a chain to the driver, which sees it after `publish`. With IN_ORDER, the chain is held back until all
   * chains popped before it are pushed.
   * @param written bytes written from the start of the writable part
   */
  push(chain: Chain, written: number): void
  /** Makes all pushed chains visible at once, and interrupts the driver unless it suppressed the interrupt. */
  publish(): void
  /**
   * Ends the use of the ring, because the driver reset the queue: `pop` and `push` have no effect. @virtio 2.6.1.1.1
   */
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
