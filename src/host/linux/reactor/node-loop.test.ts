import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../ffi.ts'
import { NodeLoop } from './node-loop.ts'

const skip = ffiMissing() ?? false

test('timeout is the time that the event loop would sleep, also within its callbacks', { skip }, async () => {
  const loop = new NodeLoop()
  await breath(loop)
  const idle = loop.timeout
  const immediate = setImmediate(() => {})
  const busy = loop.timeout
  clearImmediate(immediate)
  await breath(loop)
  const timer = setTimeout(() => {}, 1000)
  const waiting = loop.timeout
  clearTimeout(timer)
  loop.close()
  // The test runner has timers too, all longer than a second.
  assert.ok(idle > 1000, `${idle}`)
  assert.equal(busy, 0)
  assert.ok(waiting > 900 && waiting <= 1000, `${waiting}`)
})

test('the callback of runNodeLoop runs when no microtask is pending', { skip }, async () => {
  const loop = new NodeLoop()
  const order: string[] = []
  const handler = () => void Promise.resolve().then(() => order.push('microtask of a signal handler'))
  process.on('SIGCONT', handler)
  await breath(loop)
  process.kill(process.pid, 'SIGCONT')
  await new Promise<void>((resolve) => {
    const follow = (): void => {
      if (order.length === 0) loop.runNodeLoop(follow)
      else resolve()
      // A pending microtask would run after this.
      if (order.length > 0) order.push('callback')
    }
    loop.runNodeLoop(follow)
  })
  process.off('SIGCONT', handler)
  loop.close()
  assert.deepEqual(order, ['microtask of a signal handler', 'callback'])
})

function breath(loop: NodeLoop): Promise<void> {
  return new Promise((resolve) => loop.runNodeLoop(resolve))
}
