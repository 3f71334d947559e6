import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { EventFd } from '../event-fd.ts'
import { END, socketPair } from '../unix-stream.ts'
import { createReactor } from './create-reactor.ts'
import { Interest, type Reactor } from './reactor.ts'
import { KINDS } from './testing/kinds.ts'

for (const { kind, skip } of KINDS) {
  const withReactor = (name: string, body: (reactor: Reactor) => void | Promise<void>) => {
    test(`${name}: ${kind}`, { skip }, async () => {
      const reactor = createReactor({ prefer: kind })
      assert.equal(reactor.kind, kind)
      try {
        await body(reactor)
      } finally {
        reactor.close()
      }
    })
  }

  withReactor('a watch calls its listener while there is something to read', async (reactor) => {
    const [near, far] = socketPair('a test')
    far.send(Uint8Array.of(1, 2, 3))
    let calls = 0
    const watch = reactor.watch(near.fd, () => {
      if (++calls < 3) return
      const received = near.receive()
      assert.ok(received !== END && received !== undefined)
      assert.deepEqual([...received.bytes], [1, 2, 3])
      reactor.timer(5, () => reactor.stop())
    })
    await reactor.run()
    assert.equal(calls, 3)
    watch.close()
    near.close()
    far.close()
  })

  withReactor('a watch calls its listener at the end of a stream', async (reactor) => {
    const [near, far] = socketPair('a test')
    const watch = reactor.watch(near.fd, () => {
      assert.equal(near.receive(), END)
      reactor.stop()
    })
    reactor.timer(1, () => far.close())
    await reactor.run()
    watch.close()
    near.close()
  })

  withReactor('one descriptor can have a watch for reading and one for writing', async (reactor) => {
    const [near, far] = socketPair('a test')
    const seen: string[] = []
    const writing = reactor.watch(
      near.fd,
      () => {
        seen.push('writable')
        writing.close()
        far.send(Uint8Array.of(1))
      },
      Interest.WRITABLE,
    )
    const reading = reactor.watch(near.fd, () => {
      seen.push('readable')
      reading.close()
      reactor.stop()
    })
    await reactor.run()
    assert.deepEqual(seen, ['writable', 'readable'])
    near.close()
    far.close()
  })

  withReactor('an EDGE watch calls its listener for each event without draining', async (reactor) => {
    const event = EventFd.create('a test')
    let calls = 0
    const watch = reactor.watch(
      event.descriptor.fd,
      () => {
        if (++calls === 100) reactor.stop()
        else reactor.signal(event)
      },
      Interest.EDGE,
    )
    event.signal()
    await reactor.run()
    watch.close()
    assert.ok(event.drain() >= 99)
    event.close()
  })

  withReactor('an event is signalled once, at the end of the turn', async (reactor) => {
    const event = EventFd.create('a test')
    reactor.timer(0, () => {
      for (let i = 0; i < 10; i++) reactor.signal(event)
      assert.equal(event.drain(), 0)
      reactor.timer(1, () => reactor.stop())
    })
    await reactor.run()
    assert.equal(event.drain(), 1)
    event.close()
  })

  withReactor('an event that is closed before the end of the turn is not signalled', async (reactor) => {
    const event = EventFd.create('a test')
    reactor.timer(0, () => {
      reactor.signal(event)
      event.close()
      reactor.stop()
    })
    await reactor.run()
  })

  withReactor('a watch and its descriptor may be closed in the turn that created it', async (reactor) => {
    for (const interest of Object.values(Interest)) {
      reactor.timer(0, () => {
        const event = EventFd.create('a test')
        const watch = reactor.watch(event.descriptor.fd, () => assert.fail('it was closed'), interest)
        watch.close()
        event.close()
      })
    }
    reactor.timer(2, () => reactor.stop())
    await reactor.run()
  })

  withReactor('a closed watch does not call its listener, not even for earlier events', async (reactor) => {
    const events = [EventFd.create('a test'), EventFd.create('a test')]
    let calls = 0
    const watches = events.map((event) =>
      reactor.watch(event.descriptor.fd, () => {
        calls++
        for (const watch of watches) watch.close()
        reactor.timer(2, () => reactor.stop())
      }),
    )
    for (const event of events) event.signal()
    await reactor.run()
    assert.equal(calls, 1)
    for (const event of events) event.close()
  })

  withReactor('a watch on a reused descriptor number receives only its own events', async (reactor) => {
    let stale = 0
    for (let i = 0; i < 50; i++) {
      const old = EventFd.create('old')
      const watch = reactor.watch(old.descriptor.fd, () => stale++)
      old.signal()
      watch.close()
      old.close()
    }
    const event = EventFd.create('new')
    const watch = reactor.watch(event.descriptor.fd, () => reactor.stop())
    event.signal()
    await reactor.run()
    watch.close()
    event.close()
    assert.equal(stale, 0)
  })

  withReactor('a hook is called before each sleep, and prevents sleeping while it returns true', async (reactor) => {
    let turns = 0
    const hook = reactor.onTurn(() => {
      if (++turns === 1000) reactor.stop()
      return true
    })
    await reactor.run()
    assert.equal(turns, 1000)
    hook.close()
    reactor.timer(1, () => reactor.stop())
    await reactor.run()
    assert.equal(turns, 1000)
  })

  withReactor('timers fire in order, except closed ones', async (reactor) => {
    const seen: number[] = []
    reactor.timer(6, () => {
      seen.push(6)
      reactor.stop()
    })
    reactor.timer(1, () => {
      seen.push(1)
      third.close()
    })
    const third = reactor.timer(3, () => seen.push(3))
    await reactor.run()
    assert.deepEqual(seen, [1, 6])
  })

  withReactor('Node’s timers, immediates and signal handlers run while a reactor runs', async (reactor) => {
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
  })

  withReactor('a hook that closes itself does not skip the next hook', async (reactor) => {
    const seen: string[] = []
    const first = reactor.onTurn(() => {
      seen.push('first')
      first.close()
      reactor.stop()
      return false
    })
    const second = reactor.onTurn(() => {
      seen.push('second')
      return false
    })
    await reactor.run()
    assert.deepEqual(seen, ['first', 'second'])
    second.close()
  })

  withReactor('an idle reactor takes no turns, also after a promise settled', async (reactor) => {
    let turns = 0
    const hook = reactor.onTurn(() => {
      turns++
      return false
    })
    reactor.timer(0, () => reactor.settle(Promise.resolve().then(() => reactor.timer(200, () => reactor.stop()))))
    await reactor.run()
    hook.close()
    assert.ok(turns < 20, `${turns} turns without work`)
  })

  withReactor('settle runs microtasks until the promise settles', async (reactor) => {
    const seen: number[] = []
    const several = async () => {
      for (let i = 0; i < 5; i++) {
        seen.push(i)
        await undefined
      }
    }
    reactor.timer(0, () => reactor.settle(several().then(() => reactor.stop())))
    await reactor.run()
    assert.deepEqual(seen, [0, 1, 2, 3, 4])
  })

  withReactor('run rejects with the error of a callback, and can be called again', async (reactor) => {
    const event = EventFd.create('a test')
    const watch = reactor.watch(event.descriptor.fd, () => {
      event.drain()
      throw new Error('a mistake')
    })
    event.signal()
    await assert.rejects(reactor.run(), /a mistake/)
    watch.close()
    reactor.timer(1, () => reactor.stop())
    await reactor.run()
    event.close()
  })

  withReactor('more watches than the submission queue holds work', async (reactor) => {
    const events = Array.from({ length: 600 }, () => EventFd.create('a test'))
    let calls = 0
    const watches = events.map((event, i) =>
      reactor.watch(
        event.descriptor.fd,
        () => {
          if (++calls === events.length) reactor.stop()
          watches[i].close()
        },
        Interest.EDGE,
      ),
    )
    for (const event of events) reactor.signal(event)
    await reactor.run()
    assert.equal(calls, events.length)
    for (const event of events) event.close()
  })

  test(`after work, pollers poll, and stop polling before the sleep: ${kind}`, { skip }, async () => {
    const reactor = createReactor({ prefer: kind, spinMicroseconds: 2000 })
    const event = EventFd.create('a test')
    const seen: string[] = []
    const poller = reactor.poll({
      poll() {
        if (seen.at(-1) === 'worked') seen.push('polled')
        return false
      },
      stopPolling() {
        if (seen.at(-1) !== 'polled') return
        seen.push('rested')
        reactor.stop()
      },
    })
    const watch = reactor.watch(event.descriptor.fd, () => {
      event.drain()
      seen.push('worked')
    })
    reactor.timer(1, () => event.signal())
    await reactor.run()
    assert.deepEqual(seen, ['worked', 'polled', 'rested'])
    poller.close()
    watch.close()
    event.close()
    reactor.close()
  })

  test(`with a polling time of 0, pollers are never called: ${kind}`, { skip }, async () => {
    const reactor = createReactor({ prefer: kind, spinMicroseconds: 0 })
    let polled = 0
    reactor.poll({
      poll() {
        polled++
        return true
      },
      stopPolling() {},
    })
    reactor.timer(2, () => reactor.stop())
    await reactor.run()
    assert.equal(polled, 0)
    reactor.close()
  })

  test(`a closed reactor refuses all calls, and its watches, hooks and timers can still be closed: ${kind}`, {
    skip,
  }, async () => {
    const reactor = createReactor({ prefer: kind })
    const event = EventFd.create('a test')
    const watches = Object.values(Interest).map((interest) => reactor.watch(event.descriptor.fd, () => {}, interest))
    const hook = reactor.onTurn(() => {
      assert.throws(() => reactor.close(), /a running reactor cannot be closed/)
      reactor.stop()
      return undefined
    })
    await reactor.run()
    reactor.close()
    reactor.close()
    for (const closable of [...watches, hook, reactor.keepMicrotasksRunning(), reactor.timer(0, () => {})])
      closable.close()
    reactor.signal(event)
    reactor.settle(Promise.resolve())
    const refused = /the reactor is closed/
    assert.throws(() => reactor.watch(event.descriptor.fd, () => {}), refused)
    assert.throws(() => reactor.sync(event.descriptor.fd, { done: () => {} }), refused)
    await assert.rejects(reactor.run(), refused)
    event.close()
  })

  test(`a closed reactor leaves no open descriptor: ${kind}`, { skip }, async () => {
    const count = () => readdirSync('/proc/self/fd').length
    const before = count()
    for (let i = 0; i < 20; i++) {
      const reactor = createReactor({ prefer: kind })
      reactor.timer(0, () => reactor.stop())
      await reactor.run()
      reactor.close()
    }
    assert.equal(count(), before)
  })
}
