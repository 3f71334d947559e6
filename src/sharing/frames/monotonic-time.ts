/** Returns CLOCK_MONOTONIC in nanoseconds: the same clock for all processes of this host. */
export function monotonicTime(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e9 + nanoseconds
}
