import { setImmediate } from 'node:timers/promises'
import type { EventFd } from '../../../host/linux/event-fd.ts'
import type { Closable, Poller, Reactor } from '../../../host/linux/reactor/reactor.ts'

/**
 * Consecutive turns without a pending promise that `idle` requires: data that arrives in pieces takes a turn for each.
 */
const CALM_TURNS = 4
const MAX_TURNS = 100

interface Watch extends Closable {
  readonly ready: () => void
  closed: boolean
}

/**
 * Reactor that a test turns manually, and whose clock advances only by `elapse`. Each turn calls every watch, even if
 * its descriptor is not ready, so listeners must accept spurious calls. Pollers poll in every second turn, and stop
 * polling in the others.
 *
 *     reactor.turn()                         // handles all events that are ready
 *     await reactor.idle()                   // and everything that waits for promises
 */
export class HandReactor implements Pick<Reactor, 'watch' | 'signal' | 'timer' | 'onTurn' | 'poll' | 'settle'> {
  readonly #watches = new Set<Watch>()
  readonly #hooks = new Set<() => boolean | undefined>()
  readonly #pollers = new Set<Poller>()
  readonly #signals = new Set<EventFd>()
  readonly #timers = new Set<{ readonly at: number; readonly fire: () => void }>()
  #now = 0
  #polls = false
  #unsettled = 0

  /** Number of open watches and timers. */
  get watches(): number {
    return this.#watches.size + this.#timers.size
  }

  watch(_fd: number, ready: () => void): Closable {
    const watch: Watch = {
      ready,
      closed: false,
      close: () => {
        watch.closed = true
        this.#watches.delete(watch)
      },
    }
    this.#watches.add(watch)
    return watch
  }

  signal(event: EventFd): void {
    this.#signals.add(event)
  }

  timer(milliseconds: number, fire: () => void): Closable {
    const timer = { at: this.#now + milliseconds, fire }
    this.#timers.add(timer)
    return { close: () => void this.#timers.delete(timer) }
  }

  /** Advances the clock, and takes a turn. */
  elapse(milliseconds: number): void {
    this.#now += milliseconds
    this.turn()
  }

  onTurn(hook: () => boolean | undefined): Closable {
    this.#hooks.add(hook)
    return { close: () => this.#hooks.delete(hook) }
  }

  poll(poller: Poller): Closable {
    this.#pollers.add(poller)
    return { close: () => this.#pollers.delete(poller) }
  }

  settle(promise: Promise<unknown>): void {
    this.#unsettled++
    const settled = () => {
      this.#unsettled--
    }
    promise.then(settled, settled)
  }

  /** Takes a turn. @returns true if a hook has more work: a running reactor would not sleep */
  turn(): boolean {
    for (const watch of [...this.#watches]) if (!watch.closed) watch.ready()
    for (const timer of [...this.#timers]) {
      if (timer.at <= this.#now && this.#timers.delete(timer)) timer.fire()
    }
    this.#polls = !this.#polls
    for (const poller of this.#pollers) {
      if (this.#polls) poller.poll()
      else poller.stopPolling()
    }
    const more = [...this.#hooks].map((hook) => hook())
    for (const event of this.#signals) if (!event.descriptor.closed) event.signal()
    this.#signals.clear()
    return more.includes(true)
  }

  /** Takes turns until no promise is pending for `CALM_TURNS` turns. @throws {Error} after `MAX_TURNS` turns */
  async idle(): Promise<void> {
    for (let turns = 0, calm = 0; calm < CALM_TURNS; turns++) {
      if (turns > MAX_TURNS) throw new Error(`a promise is still pending after ${MAX_TURNS} turns`)
      this.turn()
      await setImmediate()
      calm = this.#unsettled === 0 ? calm + 1 : 0
    }
  }
}
