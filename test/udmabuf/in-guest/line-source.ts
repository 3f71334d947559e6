import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** Lines of a program, for whoever waits for one of them. */
export class LineSource {
  readonly #lines: AsyncIterator<string>

  /** @param seen is told of each that was waited for, or came before one that was */
  constructor(
    output: Readable,
    private readonly seen: (line: string) => void,
  ) {
    this.#lines = createInterface({ input: output, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]()
  }

  /** The next line that matches. @throws where there is none */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error(`its output ended before ${pattern}`)
      this.seen(value)
      if (pattern.test(value)) return value
    }
  }
}
