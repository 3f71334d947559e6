import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { TerminalHistory } from './terminal-history.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

test('a fast reader receives every byte, in pieces of the requested size', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 40 }),
      fc.integer({ min: 1, max: 64 }),
      (writes, limit) => {
        const history = new TerminalHistory(64)
        const seen: number[] = []
        let position = 0
        for (const bytes of writes) {
          history.append(bytes)
          while (position < history.end) {
            const part = history.read(position, limit)
            assert.ok(!part.skipped && part.bytes.length > 0 && part.bytes.length <= limit)
            seen.push(...part.bytes)
            position = part.end
          }
        }
        assert.deepEqual(
          seen,
          writes.flatMap((bytes) => [...bytes]),
        )
      },
    ),
  )
})

test('a slow reader continues with the oldest complete line', () => {
  const history = new TerminalHistory(16)
  history.append(bytesOf('first line\nsecond\nthird\n'))
  const part = history.read(0, 100)
  assert.equal(textOf(part.bytes), 'second\nthird\n')
  assert.equal(part.skipped, true)
  assert.equal(part.end, 24)
})

test('a line longer than the ring is cut, not dropped', () => {
  const history = new TerminalHistory(8)
  history.append(bytesOf('0123456789abcdef'))
  assert.equal(textOf(history.read(0, 100).bytes), '89abcdef')
})

test('bytes that were read are not changed by later output', () => {
  const history = new TerminalHistory(4)
  history.append(bytesOf('abcd'))
  const { bytes } = history.read(0, 4)
  history.append(bytesOf('wxyz'))
  assert.equal(textOf(bytes), 'abcd')
})
