import type { Closable, Interest, Reactor } from './reactor.ts'

/**
 * Tells once, each time it was asked to, that a descriptor is ready.
 *
 * A watch calls while a descriptor is ready. Mostly the listener requests the next call within the current one, so the watch
 * stays; it is closed when it calls without a request.
 */
export class Readiness {
  readonly #reactor: Pick<Reactor, 'watch'>
  readonly #fd: number
  readonly #interest: Interest
  readonly #tell: () => void
  #watch: Closable | undefined
  #asked = false
  readonly #ready = () => {
    if (this.#asked) {
      this.#asked = false
      this.#tell()
    }
    if (!this.#asked) this.close()
  }

  constructor(reactor: Pick<Reactor, 'watch'>, fd: number, interest: Interest, tell: () => void) {
    this.#reactor = reactor
    this.#fd = fd
    this.#interest = interest
    this.#tell = tell
  }

  /** `tell` is to be called when the descriptor is ready, which may be now. */
  ask(): void {
    this.#asked = true
    this.#watch ??= this.#reactor.watch(this.#fd, this.#ready, this.#interest)
  }

  /** Cancels the request. */
  close(): void {
    this.#asked = false
    this.#watch?.close()
    this.#watch = undefined
  }
}
