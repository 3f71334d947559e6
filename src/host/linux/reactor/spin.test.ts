import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Spin } from './spin.ts'

/** Has a thread sleep so often, with no request in any poll. @returns before which of the sleeps it polled */
function polledBefore(spin: Spin, sleeps: number, completion: boolean): boolean[] {
  return Array.from({ length: sleeps }, () => {
    const polls = spin.polls(true, false)
    // What was in flight completes within the poll, and the next request comes long after it.
    if (polls && completion) spin.polls(true, false)
    while (polls && spin.polls(false, false)) {}
    return polls
  })
}

test('after work it polls for more, for as long as there is', () => {
  const spin = new Spin(10_000_000)
  assert.equal(spin.polls(true, false), true)
  for (let turn = 0; turn < 50; turn++) assert.equal(spin.polls(turn % 10 === 0, false), true)
})

test('without work there is no poll', () => {
  assert.equal(new Spin(10_000_000).polls(false, false), false)
})

for (const completion of [false, true]) {
  test(`polling pauses, each time longer, while no request comes${completion ? ', though what was in flight completes' : ''}`, () => {
    const spin = new Spin(1)
    const polled = polledBefore(spin, 4 + 64 + 4 + 128 + 1, completion)
    const [four, pause, again] = [Array(4).fill(true), Array(64).fill(false), Array(128).fill(false)]
    assert.deepEqual(polled, [...four, ...pause, ...four, ...again, true])
  })
}

test('a pause has an end, however many there were', () => {
  const spin = new Spin(1)
  const polled = polledBefore(spin, 20_000, false)
  assert.ok(polled.slice(-1100).includes(true))
})

test('a request that a poll finds makes the next pause a short one again', () => {
  const spin = new Spin(1)
  polledBefore(spin, 4 + 64, false)
  assert.equal(spin.polls(true, false), true)
  assert.equal(spin.polls(true, true), true)
  while (spin.polls(false, false)) {}
  const polled = polledBefore(spin, 4 + 64 + 1, false)
  assert.deepEqual(polled, [...Array(4).fill(true), ...Array(64).fill(false), true])
})

test('while polls find requests, it polls before every sleep', () => {
  const spin = new Spin(1000)
  for (let sleep = 0; sleep < 20; sleep++) {
    assert.equal(spin.polls(true, false), true)
    assert.equal(spin.polls(true, true), true)
    while (spin.polls(false, false)) {}
  }
})

test('of 0 microseconds there is no poll', () => {
  assert.equal(new Spin(0).polls(true, false), false)
})
