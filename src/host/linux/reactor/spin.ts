/** Moments in a row that were for nothing, after which there is a rest. */
const PATIENCE = 4
/** Sleeps without a look before them. */
const REST = 64

/**
 * Looks for work a moment longer before a thread sleeps, where that pays: to be woken costs tens of microseconds, on an idle
 * processor more than the work itself. Where nothing comes in that moment, time and again, it stops looking for a while.
 */
export class Spin {
  /** When the moment is over; 0 outside of one. */
  #end = 0
  /** Something came within it. */
  #fruitful = false
  #fruitless = 0
  #rest = 0

  /** @param microseconds the longest moment; 0 for none */
  constructor(private readonly microseconds: number) {}

  /**
   * To be asked before each sleep.
   * @param worked whether there was work since this was last asked
   * @returns whether to look for more instead of sleeping
   */
  looks(worked: boolean): boolean {
    if (this.microseconds === 0) return false
    if (this.#end === 0) return worked && this.#begin()
    const now = performance.now()
    if (worked) {
      this.#fruitful = true
      this.#end = now + this.microseconds / 1000
      return true
    }
    if (now < this.#end) return true
    this.#over()
    return false
  }

  #begin(): boolean {
    if (this.#rest > 0) {
      this.#rest--
      return false
    }
    this.#end = performance.now() + this.microseconds / 1000
    this.#fruitful = false
    return true
  }

  #over(): void {
    this.#end = 0
    this.#fruitless = this.#fruitful ? 0 : this.#fruitless + 1
    if (this.#fruitless < PATIENCE) return
    this.#fruitless = 0
    this.#rest = REST
  }
}
