import { printableText } from '../log/printable-text.ts'
import { diagnosticLine, writeDiagnostic } from './diagnostics.ts'

/**
 * Progress of long work, on standard error: one line that renews itself on a terminal, one line a step elsewhere.
 */
export class Progress {
  readonly #started = performance.now()
  #step = ''
  #shown = false

  /** @param text may be the guest's @param detail what changes within a step, such as a percentage; shown on a terminal only */
  show(text: string, detail = ''): void {
    const step = printableText(text)
    if (process.stderr.isTTY) {
      writeDiagnostic(`\r\x1b[K${this.#time()} ${step}${detail && ` ${detail}`}`)
      this.#shown = true
    } else if (step !== this.#step) {
      writeDiagnostic(`${this.#time()} ${step}\n`)
    }
    this.#step = step
  }

  /** A line that stays. */
  line(text: string): void {
    this.clear()
    diagnosticLine(text)
  }

  /** Takes the renewing line away before something else is printed. */
  clear(): void {
    if (this.#shown) writeDiagnostic('\r\x1b[K')
    this.#shown = false
  }

  #time(): string {
    return `[${((performance.now() - this.#started) / 1000).toFixed(1).padStart(5)}s]`
  }
}
