/** Returns CLOCK_MONOTONIC in nanoseconds, the same for all processes of this machine. */
export function monotonicTime(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e9 + nanoseconds
}
