/** Lines a disk logs in its life: a guest that provokes errors for ever does not fill the log. */
const MOST_LOG_LINES = 20

/** A log that ends, and says so. @param path whose it is */
export function boundedLog(path: string, log: (line: string) => void): (line: string) => void {
  let lines = 0
  return (line) => {
    if (lines++ < MOST_LOG_LINES) log(line)
    if (lines === MOST_LOG_LINES) log(`${path}: says no more`)
  }
}
