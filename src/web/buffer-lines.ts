import { formatBytes, formatCount } from './format-value.ts'
import { elementsOf, numberOf, partsOf } from './state-parts.ts'

/** Buffers that get a line of their own. */
const MAX_LINES = 8

/**
 * A line about each of the guest's buffers that others of the host have, from the state of a GPU: how they have it, and why
 * so. Nothing where it shares none.
 */
export function bufferLines(state: Record<string, unknown>): string[] {
  const { buffers, totals } = partsOf(state['buffers'])
  const all = elementsOf(buffers)
  const lines = all.slice(0, MAX_LINES).map(bufferLine)
  if (all.length <= MAX_LINES) return lines
  const counts = elementsOf(totals).map(
    ({ kind, problem, count, bytes }) =>
      `${formatCount(numberOf(count))} ${kind}${typeof problem === 'string' ? ` (${problem})` : ''}, ${formatBytes(numberOf(bytes))}`,
  )
  return [...lines, `Buffers in all: ${counts.join('; ')}`]
}

function bufferLine({ name, kind, bytes, owner, picture, holders, removed, reason }: Record<string, unknown>): string {
  const { width, height } = partsOf(picture)
  const facts = [
    `${name}: ${kind}`,
    `${formatBytes(numberOf(bytes))} of the ${owner}`,
    ...(typeof width === 'number' && typeof height === 'number' ? [`${width} × ${height}`] : []),
    `held by ${formatCount(numberOf(holders))}`,
    ...(removed === true ? ['taken back by the guest'] : []),
  ]
  return `Buffer ${facts.join(', ')} (${reason})`
}
