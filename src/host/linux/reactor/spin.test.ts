import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Spin } from './spin.ts'

test('after work it looks for more, for as long as there is', () => {
  const spin = new Spin(10_000_000)
  assert.equal(spin.looks(true), true)
  for (let turn = 0; turn < 50; turn++) assert.equal(spin.looks(turn % 10 === 0), true)
})

test('without work there is no moment to look in', () => {
  const spin = new Spin(10_000_000)
  assert.equal(spin.looks(false), false)
})

test('where nothing comes, it looks no more for a while, and then again', () => {
  const spin = new Spin(1)
  const lookedBeforeSleep: boolean[] = []
  for (let sleep = 0; sleep < 4 + 64 + 1; sleep++) {
    const looks = spin.looks(true)
    lookedBeforeSleep.push(looks)
    while (looks && spin.looks(false)) {}
  }
  assert.deepEqual(lookedBeforeSleep, [...Array(4).fill(true), ...Array(64).fill(false), true])
})

test('where something comes, it goes on looking before every sleep', () => {
  const spin = new Spin(1000)
  for (let sleep = 0; sleep < 20; sleep++) {
    assert.equal(spin.looks(true), true)
    assert.equal(spin.looks(true), true)
    while (spin.looks(false)) {}
  }
})

test('of 0 microseconds nothing is looked for', () => {
  assert.equal(new Spin(0).looks(true), false)
})
