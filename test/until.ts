import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

/** Longer than anything takes on a machine whose processors are all busy: only what never happens fails. */
const TIMEOUT_MS = 120_000

/** Waits until a condition holds. @throws AssertionError with `what`, evaluated at the end if it is a function */
export async function until(what: string | (() => string), holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS
  while (!(await holds())) {
    if (performance.now() > deadline) assert.fail(`never so: ${typeof what === 'string' ? what : what()}`)
    await sleep(20)
  }
}
