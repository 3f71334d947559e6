import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JoinedLog } from './joined-log.ts'

test('a line of all groups is logged once, and again when a group repeats it', () => {
  const log = new JoinedLog(3)
  assert.deepEqual(
    [0, 1, 2].map((speaker) => log.isNew(speaker, 'refused')),
    [true, false, false],
  )
  assert.deepEqual(
    [2, 0, 1].map((speaker) => log.isNew(speaker, 'refused')),
    [true, false, false],
  )
  assert.ok(log.isNew(1, 'ring 1 failed'))
})

test('different lines are all logged, with bounded memory', () => {
  const log = new JoinedLog(2)
  for (let i = 0; i < 100_000; i++) assert.ok(log.isNew(i % 2, `line ${i}`))
  assert.ok(!log.isNew(0, 'line 99999'))
})
