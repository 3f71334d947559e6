const INTERVAL_MS = 20
/** Never changes: `Atomics.wait` on it is a sleep. */
const SLEEP = new Int32Array(new SharedArrayBuffer(4))

/**
 * Calls `attempt` until it succeeds, for resources that the kernel releases some time after their process was killed:
 * it closes the files of an io_uring only after its last request completed. The thread sleeps in between.
 *
 * @param isTransient whether another attempt may succeed after this error
 * @throws what `attempt` threw, if that is not transient or the time is over
 */
export function retry<T>(attempt: () => T, isTransient: (error: unknown) => boolean, timeoutMs: number): T {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    try {
      return attempt()
    } catch (error) {
      if (!isTransient(error) || performance.now() > deadline) throw error
      Atomics.wait(SLEEP, 0, 0, INTERVAL_MS)
    }
  }
}
