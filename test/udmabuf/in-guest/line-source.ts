import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/** Lines of a program's output, to wait for. */
export class LineSource {
  readonly #lines: AsyncIterator<string>

  /** @param seen called with each line that `until` reads */
  constructor(
    output: Readable,
    private readonly seen: (line: string) => void,
  ) {
    this.#lines = createInterface({ input: output, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]()
  }

  /** Returns the next line that matches. @throws {Error} if the output ends first */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error(`the output ended before a line matched ${pattern}`)
      this.seen(value)
      if (pattern.test(value)) return value
    }
  }
}
