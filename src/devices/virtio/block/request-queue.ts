import { Pending } from '../../../pending/pending.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'

/**
 * A queue's requests in flight, and when answers become visible: once for all that are given within one `serve`, and
 * once for all that are given later in one batch.
 */
export class RequestQueue {
  /** Requests without an answer. */
  inFlight = 0
  #queue: DeviceQueue | undefined
  #serving = false
  /** Ends when nothing is in flight. */
  #idle: Pending | undefined

  /** @param publishSoon has answers published at the end of the batch */
  constructor(private readonly publishSoon: () => void) {}

  /** Hands every available chain to `start`; each gets an answer, at once or later. */
  serve(queue: DeviceQueue, start: (chain: Chain, requests: RequestQueue) => void): void {
    this.#queue = queue
    this.#serving = true
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.inFlight++
      start(chain, this)
    }
    this.#serving = false
    queue.publish()
  }

  answer(chain: Chain, written: number): void {
    this.#queue?.push(chain, written)
    this.inFlight--
    if (this.#idle && this.inFlight === 0) {
      const idle = this.#idle
      this.#idle = undefined
      this.#queue?.publish()
      idle.finish()
    } else if (!this.#serving) {
      this.publishSoon()
    }
  }

  /** @returns a wait for all requests in flight; undefined if there are none */
  idle(): void | Pending {
    if (this.inFlight === 0) return
    this.#idle ??= new Pending()
    return this.#idle
  }
}
