import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TERMINAL_WINDOW } from '../../src/console/protocol.ts'
import { TypedText } from '../../src/web/typed-text.ts'

test('a long text is sent in pieces, a window at a time, complete and in order', () => {
  const sent: number[] = []
  let onTheWay = 0
  const text = new TypedText((bytes) => {
    assert.ok(bytes.length > 0 && bytes.length <= 4096)
    for (const byte of bytes) sent.push(byte)
    onTheWay += bytes.length
  })
  const expected = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251)
  text.write(expected.slice(0, 200_000))
  text.write(expected.slice(200_000, 200_001))
  text.write(expected.slice(200_001))
  while (onTheWay > 0) {
    assert.ok(onTheWay <= TERMINAL_WINDOW)
    const taken = Math.min(onTheWay, 10_000)
    onTheWay -= taken
    text.taken(taken)
  }
  assert.ok(Buffer.from(expected).equals(Buffer.from(sent)))
})
