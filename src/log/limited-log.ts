/** Lines that may come at once. */
const BURST = 20
/** Milliseconds in which one more line is earned. */
const LINE_MS = 5000

/** Takes lines of a log. */
export type LineLog = (line: string) => void

/**
 * A log for lines that a guest or a peer can provoke: 20 at once, then 12 a minute. What is more is counted, and the next line
 * that is written says how many were left out.
 *
 *     const log = limitedLog(write)          // once for each source, so that one does not silence another
 *     log('a front-end is here')
 *
 * @param now milliseconds on a clock that never goes back
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
