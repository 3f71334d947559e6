/**
 * Promise that is shared by all callers that wait for the same condition.
 *
 *     if (isFull) return gate.wait()
 *     ...
 *     gate.open()   // resolves the promises that `wait` returned before
 */
export class Gate {
  #promise: Promise<void> | undefined
  #resolve: () => void = () => {}

  /** Resolves at the next `open`. */
  wait(): Promise<void> {
    this.#promise ??= new Promise((resolve) => {
      this.#resolve = resolve
    })
    return this.#promise
  }

  open(): void {
    this.#promise = undefined
    this.#resolve()
  }
}
