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

test('text of a front-end in a message is shown, and no terminal obeys it', () => {
  const message = 'expected an eventfd, not /memfd:\x1b[31m\x07\r\x9b2J (deleted)'
  const lines: string[] = []
  createLog('block', 'text', (text) => lines.push(text))(LogLevel.INFO, message)
  createLog('block', 'json', (text) => lines.push(text))(LogLevel.INFO, message)
  assert.equal(lines[0], 'outboard block: expected an eventfd, not /memfd:\\x1b[31m\\x07\\x0d\\x9b2J (deleted)\n')
  assert.match(lines[1] ?? '', /^\P{Cc}*\n$/u)
  assert.equal(JSON.parse(lines[1] ?? '').message, message)
})
