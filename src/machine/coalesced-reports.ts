import type { Report } from './messages.ts'

/** Maximum number of unacknowledged reports; further ones wait. */
const MAX_UNACKNOWLEDGED = 64
/** Maximum number of waiting log lines; further ones are dropped and counted. */
const MAX_LINES = 1000

/**
 * Flow control of reports that a guest can cause without limit: modes, cursors, lights, boot steps, log lines. A
 * bounded number of them is unacknowledged. Of the waiting reports, the newest one of a scanout or a light replaces the
 * previous one.
 *
 *     const reports = new CoalescedReports((report) => port.postMessage(report))
 *     reports.report(report)        // other reports are posted at once
 *     reports.acknowledge()         // the machine received one
 */
export class CoalescedReports {
  #unacknowledged = 0
  /** Waiting reports by their subject, in sending order. */
  readonly #waiting = new Map<string, Report>()
  /** Number of lines that ever waited, that wait now, and that were dropped since the last dropped-lines report. */
  #lineCount = 0
  #linesWaiting = 0
  #linesDropped = 0

  constructor(private readonly post: (report: Report) => void) {}

  report(report: Report): void {
    if (!isCoalesced(report)) this.post(report)
    else if (this.#unacknowledged < MAX_UNACKNOWLEDGED) this.#send(report)
    else this.#keep(report)
  }

  /** The machine received a report: sends the next one. */
  acknowledge(): void {
    this.#unacknowledged--
    const next = this.#take()
    if (next) this.#send(next)
  }

  #send(report: Report): void {
    this.#unacknowledged++
    this.post(report)
  }

  #keep(report: Report): void {
    if (report.type === 'mode' || report.type === 'cursor')
      this.#waiting.set(`${report.type} ${report.scanout}`, report)
    else if (report.type === 'led') this.#waiting.set(`led ${report.device} ${report.code}`, report)
    else if (this.#linesWaiting === MAX_LINES) this.#linesDropped++
    else {
      this.#linesWaiting++
      this.#waiting.set(`line ${this.#lineCount++}`, report)
    }
  }

  #take(): Report | undefined {
    for (const [subject, report] of this.#waiting) {
      this.#waiting.delete(subject)
      if (isLine(report)) this.#linesWaiting--
      return report
    }
    if (this.#linesDropped === 0) return undefined
    const dropped = this.#linesDropped
    this.#linesDropped = 0
    return { type: 'log', line: `${dropped} lines of this log were dropped: there were too many at once` }
  }
}

/** True if the machine acknowledges the report. */
export function isCoalesced(report: Report): boolean {
  return report.type === 'mode' || report.type === 'cursor' || report.type === 'led' || isLine(report)
}

function isLine({ type }: Report): boolean {
  return type === 'log' || type === 'progress'
}
