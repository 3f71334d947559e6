import type { Closable, Interest, Reactor } from './reactor.ts'

/**
 * Reports once for each request that a descriptor is ready.
 *
 * A watch calls while a descriptor is ready. Mostly the listener requests the next call within the current one, so the
 * watch stays; it is closed when it calls without a request.
 */
export class Readiness {
  readonly #reactor: Pick<Reactor, 'watch'>
  readonly #fd: number
  readonly #interest: Interest
  readonly #onReady: () => void
  #watch: Closable | undefined
  #requested = false
  readonly #ready = () => {
    if (this.#requested) {
      this.#requested = false
      this.#onReady()
    }
    if (!this.#requested) this.close()
  }

  constructor(reactor: Pick<Reactor, 'watch'>, fd: number, interest: Interest, onReady: () => void) {
    this.#reactor = reactor
    this.#fd = fd
    this.#interest = interest
    this.#onReady = onReady
  }

  /** Requests one call of `onReady` when the descriptor is ready, or in the next turn if it is ready now. */
  request(): void {
    this.#requested = true
    this.#watch ??= this.#reactor.watch(this.#fd, this.#ready, this.#interest)
  }

  /** Cancels the request. */
  close(): void {
    this.#requested = false
    this.#watch?.close()
    this.#watch = undefined
  }
}
