/**
 * Work that finishes later with a value. Listeners are called within `finish`.
 *
 * A promise calls its listeners in a microtask, and a thread that sleeps in a reactor runs no microtasks. The life
 * cycle of a device waits with `Pending` instead, so that it continues within the callback that ends the wait.
 *
 *     const stopped = new Pending()
 *     after(stopped, () => release())
 *     stopped.finish()                       // calls release()
 */
export class Pending<T = void> {
  /** Result; undefined until `finish` is called. */
  #outcome: { readonly value: T } | undefined
  readonly #listeners: ((value: T) => void)[] = []

  /** Finishes the work and calls the listeners. Later calls have no effect. */
  finish(value: T): void {
    if (this.#outcome) return
    this.#outcome = { value }
    const listeners = this.#listeners.splice(0)
    const next = (): void => {
      const listener = listeners.shift()
      if (!listener) return
      // A listener that throws must not keep the remaining listeners from being called.
      try {
        listener(value)
      } finally {
        next()
      }
    }
    next()
  }

  /** Calls `listener` with the value when the work finishes: within this call if it already has. */
  onFinish(listener: (value: T) => void): void {
    if (this.#outcome) listener(this.#outcome.value)
    else this.#listeners.push(listener)
  }
}

/**
 * Calls `next` with the value of `wait`: within this call unless `wait` is a `Pending` that has not finished.
 * @returns the result of `next`, or a wait for it
 */
export function after<T, U>(wait: T | Pending<T>, next: (value: T) => U | Pending<U>): U | Pending<U> {
  if (!(wait instanceof Pending)) return next(wait)
  const chained = new Pending<U>()
  wait.onFinish((value) => {
    const result = next(value)
    if (result instanceof Pending) result.onFinish((outcome) => chained.finish(outcome))
    else chained.finish(result)
  })
  return chained
}

/** Returns a promise that resolves when `wait` finishes, for code that runs in an event loop. */
export function promiseOf(wait: void | Pending): Promise<void> {
  return new Promise((resolve) => after(wait, resolve))
}

/** Returns a wait for all of `waits`; undefined if none of them is a `Pending`. */
export function all(waits: readonly (void | Pending)[]): void | Pending {
  const pending = waits.filter((wait) => wait instanceof Pending)
  if (pending.length === 0) return
  const combined = new Pending()
  let unfinished = pending.length
  for (const wait of pending) {
    wait.onFinish(() => {
      if (--unfinished === 0) combined.finish()
    })
  }
  return combined
}
