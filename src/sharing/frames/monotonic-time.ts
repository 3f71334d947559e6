/** CLOCK_MONOTONIC in nanoseconds, which all processes of this machine share. */
export function monotonicTime(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e9 + nanoseconds
}
