const FIRST_MS = 250
const MAX_MS = 8000

/** Delays between attempts: doubled each time up to a limit, with a random part. */
export class Backoff {
  #next = FIRST_MS

  /** @param random returns 0 to 1; `Math.random` except in tests */
  constructor(private readonly random: () => number) {}

  next(): number {
    const wait = this.#next
    this.#next = Math.min(MAX_MS, wait * 2)
    return wait * (0.75 + this.random() / 2)
  }

  reset(): void {
    this.#next = FIRST_MS
  }
}
