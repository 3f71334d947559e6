import { terminalHeader } from './protocol.ts'
import { type Send, TabStream } from './tab-stream.ts'
import type { TerminalHistory } from './terminal-history.ts'

const PIECE_BYTES = 64 * 1024

/** The terminal's output as one tab gets it: first what there was before, then what comes. */
export class TerminalStream extends TabStream {
  #position = 0
  /** Where the output ended when the tab came: queries before it were answered long ago. */
  readonly #came: number

  /** @param answers whether this tab's terminal is the one that answers queries in the output, such as for the cursor's position */
  constructor(
    private readonly history: TerminalHistory,
    private readonly answers: () => boolean,
    private readonly send: Send,
  ) {
    super()
    this.#came = history.end
    this.schedule()
  }

  protected override async sendNewest(): Promise<boolean> {
    const isOld = this.#position < this.#came
    const limit = isOld ? Math.min(PIECE_BYTES, this.#came - this.#position) : PIECE_BYTES
    const { bytes, end, skipped } = this.history.read(this.#position, limit)
    if (bytes.length === 0) return false
    this.#position = end
    this.send(terminalHeader(isOld || !this.answers(), skipped), bytes)
    if (end < this.history.end) this.schedule()
    return true
  }
}
