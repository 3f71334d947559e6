/** How the pixels of one scanout of a GPU reach the screen, and what that costs. */
export interface FrameCost {
  readonly path: string
  readonly reason: string
  /** Bytes moved for a flush, on average since the guest started; undefined before the first. */
  readonly bytesPerFlush: number | undefined
}

/** The costs of each scanout that is on, from the state of a GPU; nothing where the state has another form. */
export function frameCosts(state: Record<string, unknown>): FrameCost[] {
  const scanouts: unknown = Object.hasOwn(state, 'scanouts') ? Object.values(state['scanouts'] ?? {}) : []
  return (scanouts as unknown[]).flatMap((scanout) => {
    if (typeof scanout !== 'object' || scanout === null) return []
    const { path, reason, flushes, bytesTransferred, bytesRead } = scanout as Record<string, unknown>
    if (typeof path !== 'string') return []
    const bytes = numberOf(bytesTransferred) + numberOf(bytesRead)
    const times = numberOf(flushes)
    return [{ path, reason: String(reason ?? ''), bytesPerFlush: times > 0 ? bytes / times : undefined }]
  })
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
