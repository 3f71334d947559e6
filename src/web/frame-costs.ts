import { elementsOf, numberOf } from './state-parts.ts'

/** How the pixels of one scanout of a GPU reach the screen, and what that costs. */
export interface FrameCost {
  readonly path: string
  readonly reason: string
  /** Whether the page's server reads them where they lie, and not by messages of the device's process. */
  readonly inPlace: boolean
  /** Bytes moved for a flush, on average since the guest started; undefined before the first. */
  readonly bytesPerFlush: number | undefined
}

/** The costs of each scanout that is on, from the state of a GPU; nothing where the state has another form. */
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
