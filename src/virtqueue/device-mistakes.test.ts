import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chain } from './chain.ts'
import { BarePair } from './testing/bare-pair.ts'

const rings = [false, true].map((packed) => ({ packed, size: 8 }))

function popOne(pair: BarePair, room = 4): Chain {
  pair.driver.add([], [pair.part(room)])
  pair.driver.kick()
  return pair.queue.pop() ?? assert.fail('no chain')
}

test('the length of a used buffer is an integer of at most its writable length  @virtio 2.7.8.2 2.8.4', () => {
  for (const [pushed, expected] of [
    [0, 0],
    [3, 3],
    [2.9, 2],
    [4, 4],
    [5, 4],
    [2 ** 40, 4],
    [Number.POSITIVE_INFINITY, 4],
    [-1, 0],
    [Number.NaN, 0],
  ]) {
    for (const ring of rings) {
      const pair = new BarePair(ring)
      pair.queue.push(popOne(pair), pushed)
      pair.queue.publish()
      assert.equal(pair.driver.collect(), true)
      assert.equal(pair.driver.written, expected, `${pushed}`)
    }
  }
})

test('a push of a chain that is not in flight in this queue is ignored and counted', () => {
  for (const ring of rings) {
    for (const inOrder of [false, true]) {
      const pair = new BarePair({ ...ring, inOrder })
      const other = new BarePair(ring)
      const chain = popOne(pair)
      pair.queue.push(popOne(other), 0)
      pair.queue.push(new Chain(), 0)
      pair.queue.push(new Chain(1000), 0)
      pair.queue.push(chain, 1)
      pair.queue.push(chain, 2)
      pair.queue.publish()
      assert.equal(pair.queue.counters.invalidPushes, 4)
      assert.equal(pair.driver.collect(), true)
      assert.equal(pair.driver.written, 1)
      assert.equal(pair.driver.collect(), false)
    }
  }
})

test('pushed chains are invisible and cause no interrupt before publish', () => {
  for (const ring of rings) {
    const pair = new BarePair(ring)
    const chains = [popOne(pair), popOne(pair), popOne(pair)]
    for (const chain of chains) {
      pair.queue.push(chain, 0)
      assert.equal(pair.driver.collect(), false)
    }
    assert.equal(pair.interrupts, 0)
    pair.queue.publish()
    assert.equal(pair.interrupts, 1)
    for (const _ of chains) assert.equal(pair.driver.collect(), true)
    pair.queue.publish()
    assert.equal(pair.interrupts, 1, 'no further interrupt')
  }
})

test('with IN_ORDER a chain is used only after those popped before it  @virtio 2.7.9 2.8.8', () => {
  for (const ring of rings) {
    const pair = new BarePair({ ...ring, inOrder: true })
    const tokens: number[] = []
    const chains = [1, 2, 3].map((room) => {
      tokens.push(pair.driver.add([], [pair.part(room)]))
      pair.driver.kick()
      return pair.queue.pop() ?? assert.fail('no chain')
    })
    pair.queue.push(chains[2], 3)
    pair.queue.push(chains[1], 2)
    pair.queue.publish()
    assert.equal(pair.driver.collect(), false)
    assert.equal(pair.interrupts, 0)
    pair.queue.push(chains[0], 1)
    pair.queue.publish()
    assert.equal(pair.interrupts, 1)
    for (let i = 0; i < 3; i++) {
      assert.equal(pair.driver.collect(), true)
      assert.deepEqual([pair.driver.token, pair.driver.written], [tokens[i], i + 1])
    }
  }
})
