import type { Closable, Reactor } from '../linux/reactor/reactor.ts'

/** How long a peer may take for a message that it owes. */
const DEADLINE_MS = 5000

/** Ends the wait for a peer that owes a message, or the rest of one that it began, and keeps silent. */
export class MessageDeadline {
  #timer: Closable | undefined

  constructor(
    private readonly reactor: Pick<Reactor, 'timer'>,
    private readonly expired: () => void,
  ) {}

  /** Begins when a message is owed, and goes on while it is; ends when it is not. */
  owed(owed: boolean): void {
    if (owed) this.#timer ??= this.reactor.timer(DEADLINE_MS, this.expired)
    else this.met()
  }

  /** A message is whole: the next has its own time. */
  met(): void {
    this.#timer?.close()
    this.#timer = undefined
  }
}
