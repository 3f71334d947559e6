/**
 * Progress of long work, on standard error: one line that renews itself on a terminal, one line a step elsewhere.
 */
export class Progress {
  readonly #out = process.stderr
  readonly #started = performance.now()
  #step = ''
  #shown = false

  /** @param detail what changes within a step, such as a percentage; shown on a terminal only */
  show(step: string, detail = ''): void {
    if (this.#out.isTTY) {
      this.#out.write(`\r\x1b[K${this.#time()} ${step}${detail && ` ${detail}`}`)
      this.#shown = true
    } else if (step !== this.#step) {
      this.#out.write(`${this.#time()} ${step}\n`)
    }
    this.#step = step
  }

  /** A line that stays. */
  line(text: string): void {
    this.clear()
    this.#out.write(`${text}\n`)
  }

  /** Takes the renewing line away before something else is printed. */
  clear(): void {
    if (this.#shown) this.#out.write('\r\x1b[K')
    this.#shown = false
  }

  #time(): string {
    return `[${((performance.now() - this.#started) / 1000).toFixed(1).padStart(5)}s]`
  }
}
