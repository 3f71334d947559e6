import type { Readable } from 'node:stream'

/** Longest line in characters; what comes after them in the same line is dropped. */
const MAX_LINE = 16 << 10

/**
 * Calls back for each line of text that another program or thread writes, the last one without a line break too. A stream that fails is a
 * stream that ended.
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
