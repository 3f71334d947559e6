import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, LogLevel } from './device-log.ts'

test('a message is a line for people', () => {
  const lines: string[] = []
  const log = createLog('block', 'text', (text) => lines.push(text))
  log(LogLevel.INFO, 'ready on disk.sock')
  log(LogLevel.ERROR, 'the disk\nis gone')
  assert.deepEqual(lines, ['outboard block: ready on disk.sock\n', 'outboard block: error: the disk is gone\n'])
})

test('or an object with its time, device and level', () => {
  const lines: string[] = []
  createLog('rng', 'json', (text) => lines.push(text))(LogLevel.WARNING, 'slow: "epoll"')
  const { time, ...rest } = JSON.parse(lines[0] ?? '')
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000)
  assert.deepEqual(rest, { device: 'rng', level: 'warning', message: 'slow: "epoll"' })
})
