import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../ffi.ts'
import { NodeLoop } from './node-loop.ts'

const skip = ffiMissing() ?? false

test('the event loop tells how long it would sleep, also from where it calls back', { skip }, async () => {
  const loop = new NodeLoop()
  await loop.breathe()
  const idle = loop.timeout
  const immediate = setImmediate(() => {})
  const busy = loop.timeout
  clearImmediate(immediate)
  await loop.breathe()
  const timer = setTimeout(() => {}, 1000)
  const waiting = loop.timeout
  clearTimeout(timer)
  loop.close()
  // The test runner has timers of its own, but none so short.
  assert.ok(idle > 1000, `${idle}`)
  assert.equal(busy, 0)
  assert.ok(waiting > 900 && waiting <= 1000, `${waiting}`)
})
