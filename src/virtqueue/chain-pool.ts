import { Chain } from './chain.ts'

const FREE = 0
const HELD = 1
const FINISHED = 2

/**
 * Reusable chains of one queue: allocated on demand, at most one per descriptor.
 *
 * With IN_ORDER the pool also records the order in which chains were taken. @virtio 2.7.9
 */
export class ChainPool {
  readonly #chains: Chain[] = []
  /** State by slot: FREE, HELD by the device, or FINISHED (pushed, but an earlier chain is not). */
  readonly #states: Uint8Array
  /** Stack of free slots. The slot released last is reused first, because it is still in the processor's cache. */
  readonly #free: Uint16Array
  #freeCount = 0
  /** In-order queues: circular list of slots in the order they were taken, from `#first`. */
  readonly #order: Uint16Array
  /** In-order queues: bytes written, by slot. */
  readonly #written: Uint32Array
  #first = 0
  /** Number of chains taken and not released. */
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

  /** Returns a chain to fill. The queue must not take more than `size` chains. */
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

  /** Whether `chain` belongs to this queue and is held by the device. */
  holds(chain: Chain): boolean {
    return this.#chains[chain.slot] === chain && this.#states[chain.slot] === HELD
  }

  release(chain: Chain): void {
    this.#states[chain.slot] = FREE
    this.#free[this.#freeCount++] = chain.slot
    this.taken--
  }

  /** In-order queues: marks a chain as pushed. It is released after all chains that were taken before it. */
  finish(chain: Chain, written: number): void {
    this.#states[chain.slot] = FINISHED
    this.#written[chain.slot] = written
  }

  /** In-order queues: returns the oldest chain, if it is finished. */
  oldestFinished(): Chain | undefined {
    if (this.taken === 0) return undefined
    const slot = this.#order[this.#first]
    return this.#states[slot] === FINISHED ? this.#chains[slot] : undefined
  }

  written(chain: Chain): number {
    return this.#written[chain.slot]
  }

  /** In-order queues: releases `chain`, which must be the oldest one. */
  releaseOldest(chain: Chain): void {
    this.#first = (this.#first + 1) % this.size
    this.release(chain)
  }
}
