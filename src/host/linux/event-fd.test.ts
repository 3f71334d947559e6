import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Descriptor } from './descriptor.ts'
import { EventFd } from './event-fd.ts'
import { ffiMissing } from './ffi.ts'
import { createReactor } from './reactor/create-reactor.ts'
import { Interest } from './reactor/reactor.ts'
import { KINDS } from './reactor/testing/kinds.ts'
import { systemCall } from './system-call.ts'

const skip = ffiMissing() ?? false
const eventfd = systemCall<[initial: number, flags: number]>('int eventfd(uint32_t initial, int flags)')
const write = systemCall<[fd: number, value: BigUint64Array, length: number]>(
  'int64_t write(int fd, const void *value, size_t length)',
)

/** One whose reader and writers wait, as a peer may have made it. */
const waiting = () => EventFd.fromDescriptor(new Descriptor(eventfd('a test', 0, 0), 'a peer’s event'))

test('events add up until they are taken', { skip }, () => {
  const event = EventFd.create('a test')
  assert.ok(!event.blocking)
  assert.equal(event.drain(), 0)
  for (let i = 0; i < 3; i++) event.signal()
  assert.equal(event.drain(), 3)
  assert.equal(event.drain(), 0)
  event.close()
})

test('nobody waits for an event that its maker wants to be waited for', { skip }, () => {
  const event = waiting()
  assert.ok(event.blocking)
  assert.equal(event.drain(), 0)
  event.signal()
  assert.equal(event.drain(), 1)
  event.close()
})

test('an event that is full, as nobody takes any, takes no more and keeps nobody up', { skip }, () => {
  for (const event of [EventFd.create('a test'), waiting()]) {
    write('filling', event.descriptor.fd, BigUint64Array.of(0xffff_ffff_ffff_fffen), 8)
    event.signal()
    assert.ok(event.drain() > 2 ** 63)
    event.close()
  }
})

for (const { kind, skip: refused } of KINDS) {
  test(`a reactor signals events of both sorts: ${kind}`, { skip: refused }, async () => {
    const reactor = createReactor({ prefer: kind })
    const events = [EventFd.create('a test'), waiting()]
    let left = events.length
    const watches = events.map((event) =>
      reactor.watch(event.descriptor.fd, () => --left === 0 && reactor.stop(), Interest.NEWS),
    )
    reactor.timer(0, () => {
      for (const event of events) reactor.signal(event)
    })
    await reactor.run()
    for (const watch of watches) watch.close()
    for (const event of events) {
      assert.equal(event.drain(), 1)
      event.close()
    }
    reactor.close()
  })
}
