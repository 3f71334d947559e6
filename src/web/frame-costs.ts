import { elementsOf, numberOf } from './state-parts.ts'

/** Path of one scanout's pixels to the page, and its cost. */
export interface FrameCost {
  readonly path: string
  readonly reason: string
  /** True if the page's server reads them in place, false if by messages of the device's process. */
  readonly inPlace: boolean
  /** Bytes moved per flush, on average since the guest started; undefined before the first flush. */
  readonly bytesPerFlush: number | undefined
}

/**
 * Returns the costs of all scanouts that are on, from the state of a GPU.
 * @returns an empty list for an unknown state
 */
export function frameCosts(state: Record<string, unknown>): FrameCost[] {
  const pages = elementsOf(state['page'])
  return elementsOf(state['scanouts']).flatMap(({ path, reason, flushes, bytesTransferred, bytesRead }, scanout) => {
    if (typeof path !== 'string') return []
    const page = pages.find((one) => one['scanout'] === scanout) ?? {}
    const bytes = numberOf(bytesTransferred) + numberOf(bytesRead) + numberOf(page['bytesRead'])
    const times = numberOf(flushes)
    const bytesPerFlush = times > 0 ? bytes / times : undefined
    return [{ path, reason: String(reason ?? ''), inPlace: page['inPlace'] === true, bytesPerFlush }]
  })
}
