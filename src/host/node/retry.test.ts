import assert from 'node:assert/strict'
import { test } from 'node:test'
import { retry } from './retry.ts'

test('an attempt is repeated until it succeeds', () => {
  let attempts = 0
  const attempt = (): number => {
    if (++attempts < 3) throw new RangeError('busy')
    return attempts
  }
  assert.equal(
    retry(attempt, (error) => error instanceof RangeError, 120_000),
    3,
  )
})

test('an error that is not transient, or that occurs after the timeout, is thrown', () => {
  const fail = (): never => {
    throw new RangeError('busy')
  }
  assert.throws(() => retry(fail, () => false, 120_000), RangeError)
  assert.throws(() => retry(fail, () => true, 0), RangeError)
})
