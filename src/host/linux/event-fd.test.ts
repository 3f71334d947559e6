import assert from 'node:assert/strict'
import { openSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { Descriptor } from './descriptor.ts'
import { EventFd } from './event-fd.ts'
import { ffiMissing } from './ffi.ts'
import { MemoryFile } from './memory-file.ts'
import { eventfd, FcntlCommand, fcntl } from './posix.ts'
import { createReactor } from './reactor/create-reactor.ts'
import { Interest } from './reactor/reactor.ts'
import { KINDS } from './reactor/testing/kinds.ts'
import { systemCall } from './system-call.ts'

const skip = ffiMissing() ?? false
const write = systemCall<[fd: number, value: BigUint64Array, length: number]>(
  'int64_t write(int fd, const void *value, size_t length)',
)

const O_PATH = 0x20_0000

const openDescriptors = () => readdirSync('/proc/self/fd').length

/** Sets the counter to its maximum: a blocking write would wait. */
function fill(event: EventFd): void {
  write('filling', event.descriptor.fd, BigUint64Array.of(0xffff_ffff_ffff_fffen), 8)
}

/** Makes writes block, as a peer that shares the event can at any time. */
function unsetNonBlocking(event: EventFd): void {
  fcntl('a test', event.descriptor.fd, FcntlCommand.SETFL, 0)
}

/** Creates a blocking event, as a peer may have created it. */
const blockingEvent = () => EventFd.fromDescriptor(new Descriptor(eventfd('a test', 0, 0), 'a peer’s event'))

test('signals add up until the event is drained', { skip }, () => {
  const event = EventFd.create('a test')
  assert.ok(!event.blocking)
  assert.equal(event.drain(), 0)
  for (let i = 0; i < 3; i++) event.signal()
  assert.equal(event.drain(), 3)
  assert.equal(event.drain(), 0)
  event.close()
})

test('signal and drain do not wait for a blocking event', { skip }, () => {
  const event = blockingEvent()
  assert.ok(event.blocking)
  assert.equal(event.drain(), 0)
  event.signal()
  assert.equal(event.drain(), 1)
  event.close()
})

test('signalling a full event changes nothing and does not wait', { skip }, () => {
  for (const event of [EventFd.create('a test'), blockingEvent()]) {
    fill(event)
    event.signal()
    assert.ok(event.drain() > 2 ** 63)
    event.close()
  }
})

test('signal does not wait after a peer made a full event blocking', { skip }, () => {
  const event = EventFd.create('a test')
  fill(event)
  unsetNonBlocking(event)
  event.signal()
  assert.ok(event.drain() > 2 ** 63)
  event.signal()
  assert.equal(event.drain(), 1)
  event.close()
})

test('a descriptor that is not a readable and writable eventfd is refused and closed', { skip }, () => {
  const before = openDescriptors()
  const event = EventFd.create('a test')
  const memory = MemoryFile.create('memory\x1b', 4096)
  const cases: [number, RegExp][] = [
    [openSync(`/proc/self/fd/${event.descriptor.fd}`, O_PATH), /not readable and writable/],
    [openSync(`/proc/self/fd/${memory.descriptor.fd}`, 'r+'), /expected an eventfd, not .*memory/],
    [openSync('/dev/null', 'r+'), /expected an eventfd/],
  ]
  for (const [fd, reason] of cases) {
    assert.throws(() => EventFd.fromDescriptor(new Descriptor(fd, 'a peer’s')), reason)
  }
  event.close()
  memory.close()
  assert.equal(openDescriptors(), before)
})

for (const { kind, skip: refused } of KINDS) {
  test(`a reactor does not wait for a full event that a peer made blocking: ${kind}`, { skip: refused }, async () => {
    const reactor = createReactor({ prefer: kind })
    const event = EventFd.create('a test')
    const signalInTurn = async () => {
      reactor.timer(0, () => {
        reactor.signal(event)
        reactor.timer(0, () => reactor.stop())
      })
      await reactor.run()
    }
    await signalInTurn()
    assert.equal(event.drain(), 1)
    fill(event)
    unsetNonBlocking(event)
    await signalInTurn()
    assert.ok(event.drain() > 2 ** 63)
    await signalInTurn()
    assert.equal(event.drain(), 1)
    event.close()
    reactor.close()
  })

  test(`a reactor signals blocking and non-blocking events: ${kind}`, { skip: refused }, async () => {
    const reactor = createReactor({ prefer: kind })
    const events = [EventFd.create('a test'), blockingEvent()]
    let pending = events.length
    const watches = events.map((event) =>
      reactor.watch(event.descriptor.fd, () => --pending === 0 && reactor.stop(), Interest.EDGE),
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
