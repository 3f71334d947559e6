import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { between, integer, isBoolean, MessageError, oneOf, optional, parseMessage, string } from './json-message.ts'

const SHAPES = {
  key: { code: integer(1, 9), pressed: isBoolean, device: optional(string(4)) },
  move: { x: between(0, 1), side: oneOf('left', 'right') },
  stop: {},
} as const

test('a message with all fields of its type is returned as it is', () => {
  for (const message of [
    { type: 'key', code: 9, pressed: false },
    { type: 'key', code: 1, pressed: true, device: 'kbd0' },
    { type: 'move', x: 0.5, side: 'left' },
    { type: 'stop' },
  ]) {
    assert.deepEqual(parseMessage(SHAPES, JSON.stringify(message)), message)
  }
})

for (const [text, reason] of [
  ['', 'not JSON'],
  ['null', 'not an object'],
  ['7', 'not an object'],
  ['[]', 'unknown type'],
  ['{"type":"toString"}', 'unknown type'],
  ['{"type":"__proto__"}', 'unknown type'],
  ['{"type":"key","code":3}', 'key: pressed is missing or out of range'],
  ['{"type":"key","code":10,"pressed":true}', 'key: code is missing or out of range'],
  ['{"type":"key","code":1.5,"pressed":true}', 'key: code is missing or out of range'],
  ['{"type":"key","code":"1","pressed":true}', 'key: code is missing or out of range'],
  ['{"type":"key","code":1,"pressed":true,"device":"kbd00"}', 'key: device is missing or out of range'],
  ['{"type":"key","code":1,"pressed":true,"device":null}', 'key: device is missing or out of range'],
  ['{"type":"key","code":1,"pressed":true,"more":1}', 'key: unknown field'],
  ['{"type":"move","x":null,"side":"left"}', 'move: x is missing or out of range'],
  ['{"type":"move","x":1,"side":"up"}', 'move: side is missing or out of range'],
  ['{"type":"stop","__proto__":1}', 'stop: unknown field'],
] as const) {
  test(`the message ${text || 'without text'} is refused: ${reason}`, () => {
    assert.throws(() => parseMessage(SHAPES, text), new MessageError(reason))
  })
}

test('every text is a message or refused with a reason', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      try {
        assert.ok(Object.hasOwn(SHAPES, parseMessage(SHAPES, text).type))
      } catch (error) {
        assert.ok(error instanceof MessageError)
      }
    }),
  )
})
