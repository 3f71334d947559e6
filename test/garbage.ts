import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

export const STRETCHES = 15
/** Bytes a stretch may leave: what asking for the figure costs, and what the engine itself does meanwhile. */
export const NOISE = 8192

/** Bytes on the heap that somebody still needs. */
export function bytesKept(): number {
  collect()
  return process.memoryUsage().heapUsed
}

/**
 * Bytes that a stretch of rounds leaves on the heap, garbage included: the median, since the compiler works too. A stretch
 * is to be short enough that garbage of one object a round does not fill the young generation, and so is seen.
 */
export function garbage(run: () => void): number {
  const grown = Array.from({ length: STRETCHES }, () => {
    const before = bytesKept()
    run()
    return process.memoryUsage().heapUsed - before
  })
  return grown.sort((a, b) => a - b)[STRETCHES >> 1]
}
