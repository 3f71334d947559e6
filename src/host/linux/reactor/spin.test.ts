import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Spin } from './spin.ts'

/** Sleeps several times without a request in any poll. @returns for each sleep, whether a poll preceded it */
function polledBefore(spin: Spin, sleeps: number, completion: boolean): boolean[] {
  return Array.from({ length: sleeps }, () => {
    const polls = spin.polls(true, false)
    // The request in flight completes within the poll, and the next request comes long after it.
    if (polls && completion) spin.polls(true, false)
    while (polls && spin.polls(false, false)) {}
    return polls
  })
}

test('after work, polling continues while there is work', () => {
  const spin = new Spin(10_000_000)
  assert.equal(spin.polls(true, false), true)
  for (let turn = 0; turn < 50; turn++) assert.equal(spin.polls(turn % 10 === 0, false), true)
})

test('without work, there is no poll', () => {
  assert.equal(new Spin(10_000_000).polls(false, false), false)
})

for (const completion of [false, true]) {
  test(`polling pauses, each time longer, while no request comes${completion ? ', even if requests in flight complete' : ''}`, () => {
    const spin = new Spin(1)
    const polled = polledBefore(spin, 4 + 64 + 4 + 128 + 1, completion)
    const [four, pause, again] = [Array(4).fill(true), Array(64).fill(false), Array(128).fill(false)]
    assert.deepEqual(polled, [...four, ...pause, ...four, ...again, true])
  })
}

test('the length of a pause is limited', () => {
  const spin = new Spin(1)
  const polled = polledBefore(spin, 20_000, false)
  assert.ok(polled.slice(-1100).includes(true))
})

test('a request that a poll finds makes the next pause short again', () => {
  const spin = new Spin(1)
  polledBefore(spin, 4 + 64, false)
  assert.equal(spin.polls(true, false), true)
  assert.equal(spin.polls(true, true), true)
  while (spin.polls(false, false)) {}
  const polled = polledBefore(spin, 4 + 64 + 1, false)
  assert.deepEqual(polled, [...Array(4).fill(true), ...Array(64).fill(false), true])
})

test('while polls find requests, there is a poll before every sleep', () => {
  const spin = new Spin(1000)
  for (let sleep = 0; sleep < 20; sleep++) {
    assert.equal(spin.polls(true, false), true)
    assert.equal(spin.polls(true, true), true)
    while (spin.polls(false, false)) {}
  }
})

test('a polling time of 0 microseconds disables polling', () => {
  assert.equal(new Spin(0).polls(true, false), false)
})
