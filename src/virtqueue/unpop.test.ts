import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Chain } from './chain.ts'
import type { ChainJournal } from './chain-journal.ts'
import { createDeviceQueue } from './create-device-queue.ts'
import { BarePair } from './testing/bare-pair.ts'

for (const packed of [false, true]) {
  const ring = packed ? 'packed' : 'split'

  test(`${ring}: chains that were unpopped, newest first, are popped again in their order`, () => {
    const pair = new BarePair({ packed, size: 8 })
    for (const length of [1, 2, 3]) pair.driver.add([pair.part(length), pair.part(1)], [])
    pair.driver.kick()
    const chains = [pair.queue.pop(), pair.queue.pop(), pair.queue.pop()]
    for (const chain of chains.reverse()) assert.ok(chain && pair.queue.unpop(chain))
    assert.deepEqual(pair.queue.position, { available: 0, used: 0, inFlight: 0 })
    assert.deepEqual(
      [1, 2, 3].map(() => pair.queue.pop()?.readableLength),
      [2, 3, 4],
    )
    assert.equal(pair.queue.counters.popped, 3)
  })

  test(`${ring}: a chain that is not the one popped last, or not in flight, is not unpopped`, () => {
    const pair = new BarePair({ packed, size: 8 })
    for (const length of [1, 2]) pair.driver.add([], [pair.part(length)])
    pair.driver.kick()
    const first = pair.queue.pop() as Chain
    const second = pair.queue.pop() as Chain
    assert.equal(pair.queue.unpop(first), false)
    assert.equal(pair.queue.unpop(second), true)
    assert.equal(pair.queue.unpop(second), false)
    pair.queue.push(first, 0)
    assert.equal(pair.queue.unpop(first), false)
    pair.queue.publish()
    assert.ok(pair.driver.collect())
    assert.equal(pair.driver.collect(), false)
  })

  test(`${ring}: a chain before a malformed one, which was returned, is not unpopped`, () => {
    const pair = new BarePair({ packed, size: 8 })
    pair.driver.add([], [pair.part(8)])
    pair.driver.add([{ address: 2 ** 40, length: 8 }], [])
    pair.driver.kick()
    const chain = pair.queue.pop() as Chain
    assert.equal(pair.queue.pop(), undefined)
    assert.equal(pair.queue.unpop(chain), false)
  })

  test(`${ring}: a queue with a journal unpops nothing, since the journal holds its chains`, () => {
    const pair = new BarePair({ packed, size: 8 })
    pair.queue.detach()
    const nothing = () => {}
    const journal: ChainJournal = {
      unfinished: [],
      descriptor: nothing,
      taken: nothing,
      resumed: nothing,
      used: nothing,
      exposing: nothing,
      exposed: nothing,
    }
    const setup = { index: 0, size: 8, packed, eventIdx: false, indirect: true, inOrder: false, memory: pair.memory }
    const events = { interrupt: nothing, onBroken: nothing }
    const queue = createDeviceQueue({ ...setup, ...pair.driver.addresses, ...events, journal })
    pair.driver.add([], [pair.part(8)])
    pair.driver.kick()
    assert.equal(queue.unpop(queue.pop() as Chain), false)
  })

  for (const inOrder of [false, true]) {
    test(`${ring}, in order ${inOrder}: requests are answered once and in order, whatever is unpopped between`, () => {
      fc.assert(
        fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(4), fc.boolean()), { maxLength: 60 }), (steps) => {
          const pair = new BarePair({ packed, size: 4, inOrder })
          let sent = 0
          let answered = 0
          const held: Chain[] = []
          for (const [add, pop, unpop] of steps) {
            for (let i = 0; i < add && pair.driver.free > 0; i++) {
              const part = pair.part(4)
              pair.bytes(part).set([sent++ & 0xff])
              pair.driver.add([part], [pair.part(4)])
            }
            pair.driver.kick()
            for (let i = 0; i < pop; i++) {
              const chain = pair.queue.pop()
              if (chain) held.push(chain)
            }
            if (unpop) for (let chain = held.pop(); chain; chain = held.pop()) assert.ok(pair.queue.unpop(chain))
            for (const chain of held.splice(0, held.length >> (pop & 1))) {
              assert.equal(chain.reader.u8(), answered++ & 0xff)
              pair.queue.push(chain, 1)
            }
            pair.queue.publish()
            while (pair.driver.collect());
            pair.driver.enableInterrupts()
          }
          for (let chain = held.pop(); chain; chain = held.pop()) assert.ok(pair.queue.unpop(chain))
          for (let chain = pair.queue.pop(); chain; chain = pair.queue.pop()) {
            assert.equal(chain.reader.u8(), answered++ & 0xff)
            pair.queue.push(chain, 1)
          }
          assert.equal(answered, sent)
          assert.deepEqual(pair.breaks, [])
        }),
      )
    })
  }
}
