import { terminalHeader } from './protocol.ts'
import { type Send, TabStream } from './tab-stream.ts'
import type { TerminalHistory } from './terminal-history.ts'

const PIECE_BYTES = 64 * 1024

/** Stream of the terminal's output to one tab: first the history, then new output. */
export class TerminalStream extends TabStream {
  #position = 0
  /** End of the output when the tab connected: queries before it were answered earlier. */
  readonly #connectedAt: number

  /** @param answers true if this tab's terminal answers queries in the output, such as for the cursor position */
  constructor(
    private readonly history: TerminalHistory,
    private readonly answers: () => boolean,
    private readonly send: Send,
  ) {
    super()
    this.#connectedAt = history.end
    this.schedule()
  }

  protected override async sendNewest(): Promise<boolean> {
    const isOld = this.#position < this.#connectedAt
    const limit = isOld ? Math.min(PIECE_BYTES, this.#connectedAt - this.#position) : PIECE_BYTES
    const { bytes, end, skipped } = this.history.read(this.#position, limit)
    if (bytes.length === 0) return false
    this.#position = end
    this.send(terminalHeader(isOld || !this.answers(), skipped), bytes)
    if (end < this.history.end) this.schedule()
    return true
  }
}
