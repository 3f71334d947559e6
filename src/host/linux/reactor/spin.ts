/** Consecutive polls without a new request before polling pauses. */
const MAX_FRUITLESS = 4
/** Sleeps without a poll in the first pause, and in the longest: each pause after fruitless polls is twice as long. */
const MIN_PAUSE = 64
const MAX_PAUSE = 1024

/**
 * Polls for work some microseconds before a thread sleeps, while that pays: to wake it takes tens of microseconds, on
 * an idle processor more than the work itself.
 *
 * A poll pays if a driver made a new request within it. The completion of what is in flight only makes the poll last
 * longer: with a slow driver it comes in every poll, and the next request in none.
 */
export class Spin {
  /** End of the current poll on the clock of `performance.now`, in milliseconds; 0 if there is none. */
  #end = 0
  /** True if polling found a request within the current poll. */
  #fruitful = false
  #fruitless = 0
  /** Remaining sleeps of the current pause. */
  #pause = 0
  #nextPause = MIN_PAUSE

  /** @param microseconds length of a poll; 0 for none */
  constructor(private readonly microseconds: number) {}

  /**
   * Call this before each sleep.
   * @param worked true if there was any work since the last call
   * @param found true if polling found some of it
   * @returns true to poll instead of sleeping
   */
  polls(worked: boolean, found: boolean): boolean {
    if (this.microseconds === 0) return false
    if (this.#end === 0) return worked && this.#begin()
    const now = performance.now()
    if (found) this.#fruitful = true
    if (worked) {
      this.#end = now + this.microseconds / 1000
      return true
    }
    if (now < this.#end) return true
    this.#endPoll()
    return false
  }

  #begin(): boolean {
    if (this.#pause > 0) {
      this.#pause--
      return false
    }
    this.#end = performance.now() + this.microseconds / 1000
    this.#fruitful = false
    return true
  }

  #endPoll(): void {
    this.#end = 0
    if (this.#fruitful) {
      this.#fruitless = 0
      this.#nextPause = MIN_PAUSE
      return
    }
    if (++this.#fruitless < MAX_FRUITLESS) return
    this.#fruitless = 0
    this.#pause = this.#nextPause
    this.#nextPause = Math.min(2 * this.#nextPause, MAX_PAUSE)
  }
}
