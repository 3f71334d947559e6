import type { Closable } from './reactor.ts'

interface Timer {
  readonly at: number
  readonly fire: () => void
}

/** Timers of one reactor. They are few, so a linear search finds the next one. */
export class Timers {
  readonly #timers = new Set<Timer>()
  /** Time of the next timer on the clock of `performance.now`, in milliseconds; Infinity if there is none. */
  #next = Number.POSITIVE_INFINITY

  add(milliseconds: number, fire: () => void): Closable {
    const timer = { at: performance.now() + milliseconds, fire }
    this.#timers.add(timer)
    this.#next = Math.min(this.#next, timer.at)
    return { close: () => this.#remove(timer) }
  }

  /** Milliseconds until the next timer; Infinity if there is none. */
  get untilNext(): number {
    if (this.#next === Number.POSITIVE_INFINITY) return this.#next
    return Math.max(0, this.#next - performance.now())
  }

  /** Fires all timers that are due. */
  fire(): void {
    if (this.#next === Number.POSITIVE_INFINITY) return
    const now = performance.now()
    if (now < this.#next) return
    const due = [...this.#timers].filter((timer) => timer.at <= now).sort((a, b) => a.at - b.at)
    for (const timer of due) {
      // An earlier callback may have closed it.
      if (!this.#timers.has(timer)) continue
      this.#remove(timer)
      timer.fire()
    }
  }

  #remove(timer: Timer): void {
    this.#timers.delete(timer)
    this.#next = Number.POSITIVE_INFINITY
    for (const { at } of this.#timers) this.#next = Math.min(this.#next, at)
  }
}
