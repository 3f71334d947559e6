import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { readLines } from './read-lines.ts'

test('lines are complete whatever pieces they arrive in, including a last line without a line break', async () => {
  const stream = new PassThrough()
  const lines: string[] = []
  readLines(stream, (line) => lines.push(line))
  for (const piece of ['on', 'e\ntw', 'o\r', '\n\n', 'three']) {
    stream.write(piece)
    await turn()
  }
  stream.end()
  await turn()
  assert.deepEqual(lines, ['one', 'two', '', 'three'])
})

test('the length of a line is limited, and the next line is complete', async () => {
  const stream = new PassThrough()
  const lines: string[] = []
  readLines(stream, (line) => lines.push(line))
  for (let i = 0; i < 100; i++) {
    stream.write('x'.repeat(10_000))
    await turn()
  }
  stream.write('\nnext\n')
  await turn()
  assert.equal(lines.length, 2)
  assert.match(lines[0] ?? '', /^x{16384}$/)
  assert.equal(lines[1], 'next')
})

test('a stream that fails ends', async () => {
  const stream = new PassThrough()
  const lines: string[] = []
  readLines(stream, (line) => lines.push(line))
  stream.write('one\n')
  await turn()
  stream.destroy(new Error('EIO'))
  await turn()
  assert.deepEqual(lines, ['one'])
})
