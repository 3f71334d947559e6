import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventFd } from '../event-fd.ts'
import { ffiMissing } from '../ffi.ts'
import { END, socketPair, type UnixStream } from '../unix-stream.ts'
import { createReactor } from './create-reactor.ts'
import { Interest } from './reactor.ts'

const skip = ffiMissing() ?? false

test('a watch calls for as long as there is something to read', { skip }, async () => {
  const reactor = createReactor()
  const [near, far] = socketPair('a test')
  far.send(Uint8Array.of(1, 2, 3))
  let calls = 0
  const watch = reactor.watch(near.fd, () => {
    calls++
    if (calls < 3) return
    const received = near.receive()
    assert.ok(received !== END && received !== undefined)
    assert.deepEqual([...received.bytes], [1, 2, 3])
    watch.close()
    reactor.timer(5, () => reactor.stop())
  })
  await reactor.run()
  assert.equal(calls, 3)
  for (const stream of [near, far] satisfies UnixStream[]) stream.close()
  reactor.close()
})

test('news of an event come each time, and nobody drains it', { skip }, async () => {
  const reactor = createReactor()
  const event = EventFd.create('a test')
  let calls = 0
  const watch = reactor.watch(
    event.descriptor.fd,
    () => {
      calls++
      if (calls === 3) reactor.stop()
      else reactor.signal(event)
    },
    Interest.NEWS,
  )
  event.signal()
  await reactor.run()
  assert.equal(event.drain(), 3)
  watch.close()
  event.close()
  reactor.close()
})

test('Node gets to run while a reactor does', { skip }, async () => {
  const reactor = createReactor()
  const seen: string[] = []
  setTimeout(() => {
    seen.push('timer')
    setImmediate(() => {
      seen.push('immediate')
      process.once('SIGUSR2', () => {
        seen.push('signal')
        reactor.stop()
      })
      process.kill(process.pid, 'SIGUSR2')
    })
  }, 5)
  await reactor.run()
  assert.deepEqual(seen, ['timer', 'immediate', 'signal'])
  reactor.close()
})
