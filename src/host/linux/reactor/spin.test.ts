import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Spin } from './spin.ts'

test('work that comes in the moment before a sleep is found', () => {
  const spin = new Spin(10_000_000)
  let looks = 0
  assert.equal(
    spin.beforeSleep(Number.POSITIVE_INFINITY, () => ++looks === 50),
    true,
  )
  assert.equal(looks, 50)
})

test('where nothing comes, it looks no more for a while, and then again', () => {
  const spin = new Spin(1)
  const sleepsWithLook: boolean[] = []
  for (let sleep = 0; sleep < 4 + 64 + 1; sleep++) {
    let looked = false
    const found = spin.beforeSleep(1, () => {
      looked = true
      return false
    })
    assert.equal(found, false)
    sleepsWithLook.push(looked)
  }
  assert.deepEqual(sleepsWithLook, [...Array(4).fill(true), ...Array(64).fill(false), true])
})

test('of 0 microseconds nothing is looked for', () => {
  assert.equal(
    new Spin(0).beforeSleep(1, () => true),
    false,
  )
})
