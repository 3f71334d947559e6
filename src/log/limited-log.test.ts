import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limitedLog } from './limited-log.ts'

function setUp() {
  const lines: string[] = []
  const clock = { milliseconds: 1000 }
  const log = limitedLog(
    (line) => lines.push(line),
    () => clock.milliseconds,
  )
  return { lines, clock, log }
}

test('lines below the rate limit are written unchanged', () => {
  const { lines, clock, log } = setUp()
  for (let i = 0; i < 1000; i++) {
    log(`line ${i}`)
    clock.milliseconds += 5000
  }
  assert.equal(lines.length, 1000)
  assert.equal(lines[999], 'line 999')
})

test('a burst is limited to 20 lines, and the last one states that lines are suppressed', () => {
  const { lines, log } = setUp()
  for (let i = 0; i < 5000; i++) log(`line ${i}`)
  assert.equal(lines.length, 20)
  assert.equal(lines[18], 'line 18')
  assert.equal(lines[19], 'line 19 (more lines like this are suppressed for a while)')
})

test('the next line that is written states how many were suppressed', () => {
  const { lines, clock, log } = setUp()
  for (let i = 0; i < 120; i++) log(`line ${i}`)
  clock.milliseconds += 10_000
  log('later')
  assert.equal(lines[20], 'later (100 lines before this one were suppressed)')
  log('and then')
  assert.match(lines[21] ?? '', /^and then \(more/)
  clock.milliseconds += 3_600_000
  for (let i = 0; i < 100; i++) log(`again ${i}`)
  assert.equal(lines.length, 42)
  assert.equal(lines[22], 'again 0')
})
