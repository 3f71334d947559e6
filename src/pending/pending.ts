/**
 * Work that ends later, and what it ends with. Listeners are called within `finish`.
 *
 * A promise calls its listeners in a microtask, and a thread that sleeps in a reactor runs no microtasks: what the life
 * cycle of a device waits for is a `Pending`, so that it goes on in the very callback that ends the wait.
 *
 *     const stopped = new Pending()
 *     after(stopped, () => release())
 *     stopped.finish()                       // calls release()
 */
export class Pending<T = void> {
  /** What it ended with; undefined while it goes on. */
  #outcome: { readonly value: T } | undefined
  readonly #listeners: ((value: T) => void)[] = []

  /** Ends it. Only the first call counts. */
  finish(value: T): void {
    if (this.#outcome) return
    this.#outcome = { value }
    const listeners = this.#listeners.splice(0)
    const next = (): void => {
      const listener = listeners.shift()
      if (!listener) return
      // A listener that throws takes none of the others along.
      try {
        listener(value)
      } finally {
        next()
      }
    }
    next()
  }

  /** Calls `listener` when it ends: within this call if it has ended. */
  onFinish(listener: (value: T) => void): void {
    if (this.#outcome) listener(this.#outcome.value)
    else this.#listeners.push(listener)
  }
}

/**
 * Calls `next` with the value, or with what the wait for it ends with: within this call unless there is something to wait
 * for. @returns what `next` returns, or a wait for that
 */
export function after<T, U>(wait: T | Pending<T>, next: (value: T) => U | Pending<U>): U | Pending<U> {
  if (!(wait instanceof Pending)) return next(wait)
  const whole = new Pending<U>()
  wait.onFinish((value) => {
    const result = next(value)
    if (result instanceof Pending) result.onFinish((outcome) => whole.finish(outcome))
    else whole.finish(result)
  })
  return whole
}

/** A promise of the same, for code that runs in an event loop. */
export function promiseOf(wait: void | Pending): Promise<void> {
  return new Promise((resolve) => after(wait, resolve))
}

/** A wait for all of these; undefined if there is nothing to wait for. */
export function all(waits: readonly (void | Pending)[]): void | Pending {
  const going = waits.filter((wait) => wait instanceof Pending)
  if (going.length === 0) return
  const whole = new Pending()
  let left = going.length
  for (const wait of going) {
    wait.onFinish(() => {
      if (--left === 0) whole.finish()
    })
  }
  return whole
}
