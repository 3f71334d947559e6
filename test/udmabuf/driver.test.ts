import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInGuest } from './driver-guest.ts'
import { findMeans } from './means.ts'

test('udmabuf tests pass in a guest whose kernel has the driver', async (context) => {
  const means = await findMeans()
  if (typeof means === 'string') {
    context.skip(means)
    return
  }
  const tests = new URL('./in-guest/all.js', import.meta.url)
  const { results, status, output } = await runInGuest({ ...means, memoryMiB: 1536, tests })
  for (const { name, failure, skipped } of results) {
    await context.test(name, (inner) => {
      if (skipped !== undefined) inner.skip(skipped)
      if (failure !== undefined) assert.fail(failure)
    })
  }
  assert.equal(status, results.some(({ failure }) => failure !== undefined) ? 1 : 0, output)
  assert.ok(results.length > 0, output)
})
