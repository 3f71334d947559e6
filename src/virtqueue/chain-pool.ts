import { Chain } from './chain.ts'

const FREE = 0
const HELD = 1
const FINISHED = 2

/**
 * The chains of one queue: made when first needed, at most as many as the queue has descriptors, then used again.
 *
 * Where the driver was promised its buffers in order, it also remembers that order. @virtio 2.7.9
 */
export class ChainPool {
  readonly #chains: Chain[] = []
  /** By slot: with nobody, with the device, or pushed and waiting for those before it. */
  readonly #states: Uint8Array
  /** Slots with nobody, the one last given back on top: its lines are still in the processor's cache. */
  readonly #free: Uint16Array
  #freeCount = 0
  /** In-order queues: slots as they were taken, and what was written to each. A circle from `#first`. */
  readonly #order: Uint16Array
  readonly #written: Uint32Array
  #first = 0
  /** Chains taken and not given back. */
  taken = 0

  constructor(
    private readonly size: number,
    private readonly inOrder: boolean,
  ) {
    this.#states = new Uint8Array(size)
    this.#free = new Uint16Array(size)
    this.#order = new Uint16Array(inOrder ? size : 0)
    this.#written = new Uint32Array(inOrder ? size : 0)
  }

  /** A chain to fill in. Its queue never takes more than `size`. */
  take(): Chain {
    let chain: Chain
    if (this.#freeCount > 0) {
      chain = this.#chains[this.#free[--this.#freeCount]]
    } else {
      chain = new Chain(this.#chains.length)
      this.#chains.push(chain)
    }
    this.#states[chain.slot] = HELD
    if (this.inOrder) this.#order[(this.#first + this.taken) % this.size] = chain.slot
    this.taken++
    return chain
  }

  /** Whether the device has this very chain of this queue. */
  holds(chain: Chain): boolean {
    return this.#chains[chain.slot] === chain && this.#states[chain.slot] === HELD
  }

  give(chain: Chain): void {
    this.#states[chain.slot] = FREE
    this.#free[this.#freeCount++] = chain.slot
    this.taken--
  }

  /** In-order queues: the device is done with a chain, but those before it come first. */
  finish(chain: Chain, written: number): void {
    this.#states[chain.slot] = FINISHED
    this.#written[chain.slot] = written
  }

  /** In-order queues: the oldest chain, if it is finished. */
  oldestFinished(): Chain | undefined {
    if (this.taken === 0) return undefined
    const slot = this.#order[this.#first]
    return this.#states[slot] === FINISHED ? this.#chains[slot] : undefined
  }

  written(chain: Chain): number {
    return this.#written[chain.slot]
  }

  /** In-order queues: gives back the oldest chain. */
  giveOldest(chain: Chain): void {
    this.#first = (this.#first + 1) % this.size
    this.give(chain)
  }
}
