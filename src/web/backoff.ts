const FIRST_MS = 250
const MAX_MS = 8000

/** How long to wait before the next try: twice as long each time, up to a limit, with a bit of chance. */
export class Backoff {
  #next = FIRST_MS

  /** @param random 0 to 1: `Math.random` unless a test says otherwise */
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
