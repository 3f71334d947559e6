import type { Report } from './messages.ts'

/** News on their way to the machine; what comes on top of them waits here. */
const MAX_ON_THE_WAY = 64
/** Lines of the log that wait; more are counted instead. */
const MAX_LINES = 1000

/**
 * Reports that a guest can cause as often as it likes and that nothing else answers: modes, cursors, lights, steps of the boot,
 * lines of the log. A bounded number of them is on its way to the machine. Of those that wait, the newest of a screen or a light
 * replaces the one before.
 *
 *     const news = new News((report) => port.postMessage(report))
 *     news.report(report)        // others than news pass
 *     news.heard()               // the machine's answer to one of them
 */
export class CoalescedReports {
  #onTheWay = 0
  /** Reports by what they are about, in the order in which they are sent. */
  readonly #waiting = new Map<string, Report>()
  /** Lines that waited ever, wait now, and were dropped since the last that was sent. */
  #lineCount = 0
  #linesWaiting = 0
  #linesDropped = 0

  constructor(private readonly post: (report: Report) => void) {}

  report(report: Report): void {
    if (!isCoalesced(report)) this.post(report)
    else if (this.#onTheWay < MAX_ON_THE_WAY) this.#send(report)
    else this.#keep(report)
  }

  heard(): void {
    this.#onTheWay--
    const next = this.#take()
    if (next) this.#send(next)
  }

  #send(report: Report): void {
    this.#onTheWay++
    this.post(report)
  }

  #keep(report: Report): void {
    if (report.type === 'mode' || report.type === 'cursor')
      this.#waiting.set(`${report.type} ${report.scanout}`, report)
    else if (report.type === 'led') this.#waiting.set(`led ${report.code}`, report)
    else if (this.#linesWaiting === MAX_LINES) this.#linesDropped++
    else {
      this.#linesWaiting++
      this.#waiting.set(`line ${this.#lineCount++}`, report)
    }
  }

  #take(): Report | undefined {
    for (const [about, report] of this.#waiting) {
      this.#waiting.delete(about)
      if (isLine(report)) this.#linesWaiting--
      return report
    }
    if (this.#linesDropped === 0) return undefined
    const dropped = this.#linesDropped
    this.#linesDropped = 0
    return { type: 'log', line: `${dropped} lines of this log were dropped: there were too many at once` }
  }
}

/** Whether the report is answered by `heard`. */
export function isCoalesced(report: Report): boolean {
  return report.type === 'mode' || report.type === 'cursor' || report.type === 'led' || isLine(report)
}

function isLine({ type }: Report): boolean {
  return type === 'log' || type === 'progress'
}
