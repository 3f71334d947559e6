import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SharedLine } from './interrupt-line.ts'

function shared() {
  const levels: boolean[] = []
  return { levels, line: new SharedLine({ set: (asserted) => levels.push(asserted) }) }
}

test('a shared line is asserted while any of its sources is', () => {
  const { levels, line } = shared()
  const [a, b] = [line.source(), line.source()]
  a.set(true)
  b.set(true)
  a.set(false)
  assert.deepEqual(levels, [true])
  b.set(false)
  assert.deepEqual(levels, [true, false])
  b.set(true)
  assert.deepEqual(levels, [true, false, true])
})

test('a source that sets its level again changes nothing', () => {
  const { levels, line } = shared()
  const [a, b] = [line.source(), line.source()]
  a.set(false)
  a.set(true)
  a.set(true)
  b.set(false)
  a.set(false)
  a.set(false)
  b.set(true)
  assert.deepEqual(levels, [true, false, true])
})
