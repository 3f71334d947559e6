/** Different lines that are remembered; past that it begins anew, and may tell one again. */
const MAX_LINES = 256

/**
 * The log of several speakers who mostly say the same: each line is told as often as the one says it who says it most.
 *
 *     const log = new JoinedLog(2)
 *     log.isNews(0, 'the memory is not sealed')       // true
 *     log.isNews(1, 'the memory is not sealed')       // false
 */
export class JoinedLog {
  /** How often each speaker said it. */
  readonly #counts = new Map<string, number[]>()

  constructor(private readonly speakers: number) {}

  /** Takes a line of one of them. @returns whether it is to be told */
  isNews(speaker: number, line: string): boolean {
    const counts = this.#counts.get(line) ?? new Array<number>(this.speakers).fill(0)
    const told = Math.max(...counts)
    counts[speaker]++
    if (this.#counts.size >= MAX_LINES) this.#counts.clear()
    this.#counts.set(line, counts)
    return counts[speaker] > told
  }
}
