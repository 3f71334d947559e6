import type { Report } from './messages.ts'

/** News on their way to the machine; what comes on top of them waits here. */
const MOST_ON_THE_WAY = 64
/** Lines of the log that wait; more are counted instead. */
const MOST_LINES = 1000

const NEWS: readonly Report['type'][] = ['mode', 'cursor', 'led', 'log', 'progress']

/**
 * Reports that a guest can cause as often as it likes and that nothing answers: modes, cursors, lights, lines of the log, steps. A bounded
 * number of them is on its way to the machine. Of those that wait, the newest of a screen or a light replaces the one before.
 *
 *     const news = new News((report) => port.postMessage(report))
 *     news.report(report)        // others than news pass
 *     news.heard()               // the machine's answer to one of them
 */
export class News {
  #onTheWay = 0
  /** What a report is about, and the newest report. */
  readonly #waiting = new Map<string, Report>()
  readonly #lines: Report[] = []
  #lostLines = 0

  constructor(private readonly post: (report: Report) => void) {}

  report(report: Report): void {
    if (!isNews(report)) this.post(report)
    else if (this.#onTheWay < MOST_ON_THE_WAY) this.#send(report)
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
    else if (this.#lines.length < MOST_LINES) this.#lines.push(report)
    else this.#lostLines++
  }

  #take(): Report | undefined {
    for (const [about, report] of this.#waiting) {
      this.#waiting.delete(about)
      return report
    }
    const line = this.#lines.shift()
    if (line || this.#lostLines === 0) return line
    const lost = this.#lostLines
    this.#lostLines = 0
    return { type: 'log', line: `${lost} lines of this log were dropped: there were too many at once` }
  }
}

/** Whether the report is answered by `heard`. */
export function isNews({ type }: Report): boolean {
  return NEWS.includes(type)
}
