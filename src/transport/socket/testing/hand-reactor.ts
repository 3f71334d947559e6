import { setImmediate } from 'node:timers/promises'
import type { EventFd } from '../../../host/linux/event-fd.ts'
import type { Closable, Poller, Reactor } from '../../../host/linux/reactor/reactor.ts'

/** What comes in pieces takes a turn for each. */
const CALM_TURNS = 4
const MAX_TURNS = 100

interface Watch extends Closable {
  readonly ready: () => void
  closed: boolean
}

/**
 * A reactor that a test turns by hand, and whose clock stands until `elapse`. It calls every watch each turn, whether there
 * is something or not: who is called for nothing has to cope. Pollers look in every second turn, and rest in the others.
 *
 *     reactor.turn()                         // all that can happen now happens
 *     await reactor.idle()                   // and all that promises have to do with
 */
export class HandReactor implements Pick<Reactor, 'watch' | 'signal' | 'timer' | 'onTurn' | 'poll' | 'settle'> {
  readonly #watches = new Set<Watch>()
  readonly #hooks = new Set<() => boolean | undefined>()
  readonly #pollers = new Set<Poller>()
  readonly #signals = new Set<EventFd>()
  readonly #timers = new Set<{ readonly at: number; readonly fire: () => void }>()
  #now = 0
  #looks = false
  #unsettled = 0

  /** Descriptors and timers that are being watched. */
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

  /** Time passes, and a turn with it. */
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

  /** @returns whether there is more to do at once: a reactor that runs would not sleep */
  turn(): boolean {
    for (const watch of [...this.#watches]) if (!watch.closed) watch.ready()
    for (const timer of [...this.#timers]) {
      if (timer.at <= this.#now && this.#timers.delete(timer)) timer.fire()
    }
    this.#looks = !this.#looks
    for (const poller of this.#pollers) {
      if (this.#looks) poller.poll()
      else poller.stopPolling()
    }
    const wishes = [...this.#hooks].map((hook) => hook())
    for (const event of this.#signals) if (!event.descriptor.closed) event.signal()
    this.#signals.clear()
    return wishes.includes(true)
  }

  /** Turns until no promise is waited for, a few turns long. @throws where that takes for ever */
  async idle(): Promise<void> {
    for (let turns = 0, calm = 0; calm < CALM_TURNS; turns++) {
      if (turns > MAX_TURNS) throw new Error('promises that are never settled')
      this.turn()
      await setImmediate()
      calm = this.#unsettled === 0 ? calm + 1 : 0
    }
  }
}
