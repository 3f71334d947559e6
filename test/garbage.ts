import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** Number of runs in a group. */
export const STRETCHES = 15
/**
 * Groups of stretches at most: a machine that is busy takes its time to compile, and code that is not compiled boxes
 * numbers.
 */
const MAX_GROUPS = 20
/** Bytes that a run may leave: the cost of the measurement, and of the JavaScript engine. */
export const NOISE = 8192

/** Bytes on the heap that are still referenced. */
export function bytesKept(): number {
  collect()
  return process.memoryUsage().heapUsed
}

/**
 * Bytes that a stretch of rounds leaves on the heap, garbage included: the median of a group of stretches, and of the
 * group with the least, since an allocation of the code under test is in all of them. A stretch must be short enough
 * that garbage of one object a round does not fill the young generation, and so is seen.
 */
export function garbage(run: () => void): number {
  let least = Number.POSITIVE_INFINITY
  for (let group = 0; group < MAX_GROUPS && least >= NOISE; group++) {
    const grown = Array.from({ length: STRETCHES }, () => {
      const before = bytesKept()
      run()
      return process.memoryUsage().heapUsed - before
    })
    least = Math.min(least, grown.sort((a, b) => a - b)[STRETCHES >> 1])
  }
  return least
}
