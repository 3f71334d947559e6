/** Maximum number of distinct lines that are remembered; one more clears them, and lines may repeat. */
const MAX_LINES = 256

/**
 * Joins the logs of groups that mostly log the same lines: each line appears as often as in the log that has it most
 * often.
 *
 *     const log = new JoinedLog(2)
 *     log.isNew(0, 'the memory is not sealed')        // true
 *     log.isNew(1, 'the memory is not sealed')        // false
 */
export class JoinedLog {
  /** Number of occurrences in each log, by line. */
  readonly #counts = new Map<string, number[]>()

  /** @param groups number of logs to join */
  constructor(private readonly groups: number) {}

  /** Adds a line of one group's log. @returns true if it must be logged */
  isNew(group: number, line: string): boolean {
    const counts = this.#counts.get(line) ?? new Array<number>(this.groups).fill(0)
    const logged = Math.max(...counts)
    counts[group]++
    if (this.#counts.size >= MAX_LINES) this.#counts.clear()
    this.#counts.set(line, counts)
    return counts[group] > logged
  }
}
