import type { Closable } from './reactor.ts'

interface Timer {
  readonly at: number
  readonly fire: () => void
}

/** Timers of one reactor: few, so that the next is found by looking at all. */
export class Timers {
  readonly #timers = new Set<Timer>()
  /** When the next fires, on the clock of `performance.now`. */
  #next = Number.POSITIVE_INFINITY

  add(milliseconds: number, fire: () => void): Closable {
    const timer = { at: performance.now() + milliseconds, fire }
    this.#timers.add(timer)
    this.#next = Math.min(this.#next, timer.at)
    return { close: () => this.#remove(timer) }
  }

  /** Milliseconds until the next; Infinity where there is none. */
  get left(): number {
    if (this.#next === Number.POSITIVE_INFINITY) return this.#next
    return Math.max(0, this.#next - performance.now())
  }

  /** Fires those whose time has come. */
  fire(): void {
    if (this.#next === Number.POSITIVE_INFINITY) return
    const now = performance.now()
    if (now < this.#next) return
    const due = [...this.#timers].filter((timer) => timer.at <= now).sort((a, b) => a.at - b.at)
    for (const timer of due) {
      // One of those before may have closed it.
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
