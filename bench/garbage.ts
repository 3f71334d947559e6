import { constants, type NodeGCPerformanceDetail, PerformanceObserver } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/**
 * Bytes of the heap that a function leaves behind, garbage included. Only right where it makes less than fits the young
 * generation (some megabytes): what is collected meanwhile is not seen.
 */
export function bytesAllocated(run: () => void): number {
  // Twice: asking allocates too, and the first time more than later.
  process.memoryUsage()
  collect()
  const before = process.memoryUsage().heapUsed
  const asked = process.memoryUsage().heapUsed
  run()
  return Math.max(0, process.memoryUsage().heapUsed - asked - (asked - before))
}

/** Counts the collections while a function runs that somebody's garbage made necessary. */
export async function countCollections(run: () => void): Promise<number> {
  let count = 0
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { flags = 0 } = (entry as unknown as { detail: NodeGCPerformanceDetail }).detail
      if ((flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) === 0) count++
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  run()
  // Entries are handed out in a later turn of the event loop.
  await setImmediate()
  await setImmediate()
  observer.disconnect()
  return count
}
