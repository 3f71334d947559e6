import { printableText } from '../log/printable-text.ts'

/** Characters of diagnostics that may wait for the reader of standard error; lines on top of them are counted instead. */
const MAX_WAITING = 256 << 10

/** Lines that were not written since the last one that was. */
let suppressed = 0

/**
 * Writes to standard error. Never throws, waits or fails: text that cannot be written is lost, since a service must not depend on its
 * log. When the reader is slow, lines are counted, and the count is written as soon as there is room.
 *
 * @param text may hold control sequences of this program; text of guests and peers in it is printable
 */
export function writeDiagnostic(text: string): void {
  const { stderr } = process
  if (stderr.writableLength > MAX_WAITING) {
    if (suppressed++ === 0) stderr.once('drain', tellSuppressed)
    return
  }
  stderr.write(text)
}

/** Writes a line, with text of guests and peers as text. */
export function diagnosticLine(text: string): void {
  writeDiagnostic(`${printableText(text)}\n`)
}

function tellSuppressed(): void {
  const lines = suppressed
  suppressed = 0
  diagnosticLine(`outboard: ${lines} lines of this log were dropped: its reader was too slow`)
}
