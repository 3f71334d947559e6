import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Chain } from './chain.ts'
import { BarePair } from './testing/bare-pair.ts'

/** Steps of driver and device before the reset. */
const history = fc.array(fc.constantFrom('add', 'kick', 'pop', 'push', 'publish', 'collect'), { maxLength: 60 })
const options = fc.record({
  packed: fc.boolean(),
  size: fc.constantFrom(1, 2, 8),
  eventIdx: fc.boolean(),
  inOrder: fc.boolean(),
})

test('a reset queue pops nothing, writes nothing and does not interrupt, at any moment  @virtio 2.6.1.1.1', () => {
  fc.assert(
    fc.property(options, history, history, (setup, before, after) => {
      const pair = new BarePair(setup)
      const held: Chain[] = []
      const move = (step: (typeof before)[number]) => {
        if (step === 'add') pair.driver.add([pair.part(1)], [pair.part(1)])
        else if (step === 'kick') pair.driver.kick()
        else if (step === 'collect') pair.driver.collect()
        else if (step === 'publish') pair.queue.publish()
        else if (step === 'pop') {
          const chain = pair.queue.pop()
          if (chain) held.push(chain)
        } else {
          const chain = held.shift()
          if (chain) pair.queue.push(chain, 1)
        }
      }
      for (const step of before) move(step)
      pair.queue.detach()
      const { interrupts } = pair
      const counters = { ...pair.queue.counters }
      const bytes = pair.allocator.region.u8.slice(0, 1 << 16)
      for (const step of after) if (step === 'pop' || step === 'push' || step === 'publish') move(step)
      assert.equal(pair.queue.pop(), undefined)
      for (const chain of held) pair.queue.push(chain, 1)
      pair.queue.publish()
      pair.queue.detach()
      assert.equal(pair.interrupts, interrupts)
      assert.deepEqual(pair.queue.counters, counters)
      assert.deepEqual(pair.allocator.region.u8.slice(0, 1 << 16), bytes)
      assert.deepEqual(pair.breaks, [])
    }),
  )
})

test('writes of the driver to the ring of a reset queue do not break it', () => {
  for (const packed of [false, true]) {
    const pair = new BarePair({ packed, size: 4 })
    pair.queue.detach()
    pair.allocator.region.u8.fill(0xff)
    assert.equal(pair.queue.pop(), undefined)
    assert.equal(pair.queue.broken, undefined)
    assert.deepEqual(pair.breaks, [])
  }
})

test('a queue that is enabled again starts at position 0  @virtio 2.6.1.2', () => {
  for (const packed of [false, true]) {
    const pair = new BarePair({ packed, size: 4 })
    for (let i = 0; i < 3; i++) pair.driver.add([], [])
    pair.driver.kick()
    const old = pair.queue.pop() ?? assert.fail()
    pair.queue.detach()
    const again = new BarePair({ packed, size: 4, memory: pair.memory })
    assert.deepEqual(again.driver.addresses, pair.driver.addresses)
    again.driver.add([], [again.part(2)])
    again.driver.kick()
    const chain = again.queue.pop() ?? assert.fail()
    pair.queue.push(old, 0)
    again.queue.push(old, 0)
    assert.equal(again.queue.counters.invalidPushes, 1)
    again.queue.push(chain, 2)
    again.queue.publish()
    assert.equal(again.driver.collect(), true)
    assert.equal(again.driver.written, 2)
    assert.equal(again.driver.collect(), false)
  }
})
