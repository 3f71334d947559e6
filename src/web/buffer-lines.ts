import { formatBytes, formatCount } from './format-value.ts'
import { elementsOf, numberOf, partsOf } from './state-parts.ts'

/** Maximum number of buffers with a line of their own. */
const MAX_LINES = 8

/**
 * Describes the guest's buffers that are shared with other programs, from the state of a GPU: one line each, with its
 * kind and the reason for it.
 * @returns no lines if none is shared
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
  return [...lines, `All buffers: ${counts.join('; ')}`]
}

function bufferLine({ name, kind, bytes, owner, picture, holders, removed, reason }: Record<string, unknown>): string {
  const { width, height } = partsOf(picture)
  const details = [
    `${name}: ${kind}`,
    `${formatBytes(numberOf(bytes))} of the ${owner}`,
    ...(typeof width === 'number' && typeof height === 'number' ? [`${width} × ${height}`] : []),
    `held by ${formatCount(numberOf(holders))}`,
    ...(removed === true ? ['taken back by the guest'] : []),
  ]
  return `Buffer ${details.join(', ')} (${reason})`
}
