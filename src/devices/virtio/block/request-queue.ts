import { Pending } from '../../../pending/pending.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'

/**
 * Requests of one queue that are in flight. Publishes their answers once for all given within one `serve`, and once for
 * all given later in one batch.
 */
export class RequestQueue {
  /** Number of requests without an answer. */
  inFlight = 0
  #queue: DeviceQueue | undefined
  #serving = false
  /** Finishes when no request is in flight. */
  #idle: Pending | undefined

  /** @param publishSoon called to publish answers at the end of the batch */
  constructor(private readonly publishSoon: () => void) {}

  /** Passes every available chain to `start`, which must answer each one, at once or later. */
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
