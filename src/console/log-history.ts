const MAX_LINES = 500
const MAX_LINE_LENGTH = 1000

/**
 * Newest lines of the log. Readers keep the number of the line to read next; lines that are no longer held are skipped.
 */
export class LogHistory {
  readonly #lines: string[] = []
  /** Number of all lines that were appended. */
  #end = 0

  append(line: string): void {
    this.#lines.push(line.length > MAX_LINE_LENGTH ? `${line.slice(0, MAX_LINE_LENGTH)}…` : line)
    this.#end++
    if (this.#lines.length > MAX_LINES) this.#lines.shift()
  }

  read(position: number): { lines: string[]; end: number; skipped: number } {
    const oldest = this.#end - this.#lines.length
    const start = Math.max(position, oldest)
    return { lines: this.#lines.slice(start - oldest), end: this.#end, skipped: start - position }
  }
}
