/** Moments in a row that were for nothing, after which there is a rest. */
const PATIENCE = 4
/** Sleeps without a look before them. */
const REST = 64

/**
 * Looks for work a moment longer before a thread sleeps, where that pays: to be woken costs tens of microseconds, on an idle
 * processor more than the work itself. Where nothing comes in that moment, time and again, it stops looking for a while.
 */
export class Spin {
  #fruitless = 0
  #rest = 0

  /** @param microseconds the longest moment; 0 for none */
  constructor(private readonly microseconds: number) {}

  /**
   * @param milliseconds how long the thread would sleep
   * @param look whether there is work
   * @returns whether there is work by now
   */
  beforeSleep(milliseconds: number, look: () => boolean): boolean {
    if (this.microseconds === 0) return false
    if (this.#rest > 0) {
      this.#rest--
      return false
    }
    const end = performance.now() + Math.min(this.microseconds / 1000, milliseconds)
    do {
      if (look()) {
        this.#fruitless = 0
        return true
      }
    } while (performance.now() < end)
    if (++this.#fruitless === PATIENCE) {
      this.#fruitless = 0
      this.#rest = REST
    }
    return false
  }
}
