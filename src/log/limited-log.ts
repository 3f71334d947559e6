/** Lines that may be written at once. */
const BURST = 20
/** Milliseconds after which one more line may be written. */
const LINE_MS = 5000

/** Writes one line to a log. */
export type LineLog = (line: string) => void

/**
 * Limits the rate of lines that a guest or a peer can provoke: 20 at once, then 12 a minute. Further lines are dropped
 * and counted. The next line that is written states how many were dropped.
 *
 *     const log = limitedLog(write)          // one for each source, so that one source cannot suppress another's lines
 *     log('a front-end connected')
 *
 * @param now monotonic clock in milliseconds
 */
export function limitedLog(write: LineLog, now: () => number = () => performance.now()): LineLog {
  let lines = BURST
  let counted = now()
  let suppressed = 0
  return (line) => {
    const time = now()
    lines = Math.min(BURST, lines + (time - counted) / LINE_MS)
    counted = time
    if (lines < 1) {
      suppressed++
      return
    }
    lines--
    const before = suppressed > 0 ? ` (${suppressed} lines before this one were suppressed)` : ''
    const after = lines < 1 ? ' (more lines like this are suppressed for a while)' : ''
    suppressed = 0
    write(`${line}${before}${after}`)
  }
}
