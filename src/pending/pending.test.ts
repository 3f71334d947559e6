import assert from 'node:assert/strict'
import { test } from 'node:test'
import { after, all, Pending } from './pending.ts'

test('listeners are called within `finish` in order, and later ones within `onFinish`', () => {
  const pending = new Pending<number>()
  const received: string[] = []
  pending.onFinish((value) => received.push(`first ${value}`))
  pending.onFinish((value) => received.push(`second ${value}`))
  pending.finish(3)
  pending.finish(4)
  pending.onFinish((value) => received.push(`late ${value}`))
  assert.deepEqual(received, ['first 3', 'second 3', 'late 3'])
})

test('`after` calls `next` within the call if there is nothing to wait for', () => {
  assert.equal(
    after(2, (value) => value + 1),
    3,
  )
  assert.equal(
    after(undefined, () => 'done'),
    'done',
  )
})

test('waits can be chained, and the result finishes with the last one', () => {
  const [first, second] = [new Pending<number>(), new Pending<string>()]
  const received: string[] = []
  const whole = after(first, (value) => after(second, (text) => `${value} ${text}`))
  assert.ok(whole instanceof Pending)
  whole.onFinish((text) => received.push(text))
  first.finish(1)
  assert.deepEqual(received, [])
  second.finish('one')
  assert.deepEqual(received, ['1 one'])
})

test('`all` finishes with the last of its waits, in any order', () => {
  const [first, second] = [new Pending(), new Pending()]
  const whole = all([undefined, first, second])
  let ended = false
  whole?.onFinish(() => {
    ended = true
  })
  second.finish()
  assert.ok(!ended)
  first.finish()
  assert.ok(ended)
  assert.equal(all([undefined, undefined]), undefined)
})

test('a listener that throws does not keep the remaining listeners from being called', () => {
  const pending = new Pending()
  const received: string[] = []
  pending.onFinish(() => {
    throw new Error('broken')
  })
  pending.onFinish(() => received.push('second'))
  assert.throws(() => pending.finish(), /broken/)
  assert.deepEqual(received, ['second'])
})
