import type { Readable } from 'node:stream'

/** Maximum line length in characters; the rest of a longer line is dropped. */
const MAX_LINE = 16 << 10

/**
 * Calls `onLine` for each line of text that another program or thread writes, including a last line without a line
 * break. An error of the stream ends it.
 */
export function readLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = ''
  stream
    .setEncoding('utf8')
    .on('data', (text: string) => {
      const lines = `${rest}${text}`.split('\n')
      rest = (lines.pop() ?? '').slice(0, MAX_LINE)
      for (const line of lines) onLine(line.slice(0, MAX_LINE).replace(/\r$/, ''))
    })
    .on('end', () => {
      if (rest !== '') onLine(rest)
    })
    .on('error', () => {})
}
