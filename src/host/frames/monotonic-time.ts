/** What this process's clock has to be set forward by, in nanoseconds, to be the system's CLOCK_MONOTONIC. */
const ORIGIN = Number(process.hrtime.bigint()) - performance.now() * 1e6

/** CLOCK_MONOTONIC in nanoseconds, which all processes of this machine share. */
export function monotonicTime(): number {
  return Math.round(ORIGIN + performance.now() * 1e6)
}
