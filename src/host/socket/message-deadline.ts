import type { Closable, Reactor } from '../linux/reactor/reactor.ts'

/** Time limit for a message that the peer must send. */
const DEADLINE_MS = 5000

/** Limits the wait for a message, or the rest of a partial one, that the peer must send. */
export class MessageDeadline {
  #timer: Closable | undefined

  constructor(
    private readonly reactor: Pick<Reactor, 'timer'>,
    private readonly expired: () => void,
  ) {}

  /** Starts the timer when the peer begins to owe a message, and stops it when it no longer does. */
  setPending(owed: boolean): void {
    if (owed) this.#timer ??= this.reactor.timer(DEADLINE_MS, this.expired)
    else this.clear()
  }

  /** Stops the timer: the message is complete. The next one gets the full time. */
  clear(): void {
    this.#timer?.close()
    this.#timer = undefined
  }
}
