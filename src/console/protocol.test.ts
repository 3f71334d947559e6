import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MessageError } from '../wire/json-message.ts'
import { cursorHeader, decodeFrame, parsePageMessage, rectHeader, screenHeader, terminalHeader } from './protocol.ts'

function frame(...parts: readonly Uint8Array[]): ArrayBuffer {
  return new Uint8Array(parts.flatMap((part) => [...part])).buffer
}

test('a valid message of the page is returned unchanged', () => {
  const key = { type: 'key', code: 30, pressed: true }
  assert.deepEqual(parsePageMessage(JSON.stringify(key)), key)
  const pointer = { type: 'pointer', scanout: 0, x: 0.5, y: 1 }
  assert.deepEqual(parsePageMessage(JSON.stringify(pointer)), pointer)
  assert.deepEqual(parsePageMessage('{"type":"inspect"}'), { type: 'inspect' })
})

for (const [text, why] of [
  ['', 'not JSON'],
  ['null', 'not an object'],
  ['7', 'not an object'],
  ['[]', 'unknown type'],
  ['{}', 'unknown type'],
  ['{"type":"toString"}', 'unknown type'],
  ['{"type":"__proto__"}', 'unknown type'],
  ['{"type":"key","code":30}', 'key: pressed is missing or out of range'],
  ['{"type":"key","code":30,"pressed":1}', 'key: pressed is missing or out of range'],
  ['{"type":"key","code":0,"pressed":true}', 'key: code is missing or out of range'],
  ['{"type":"key","code":768,"pressed":true}', 'key: code is missing or out of range'],
  ['{"type":"key","code":1.5,"pressed":true}', 'key: code is missing or out of range'],
  ['{"type":"key","code":"30","pressed":true}', 'key: code is missing or out of range'],
  ['{"type":"key","code":30,"pressed":true,"more":1}', 'key: unknown field'],
  ['{"type":"button","code":30,"pressed":true}', 'button: code is missing or out of range'],
  ['{"type":"pointer","scanout":0,"x":1.01,"y":0}', 'pointer: x is missing or out of range'],
  ['{"type":"pointer","scanout":128,"x":1,"y":0}', 'pointer: scanout is missing or out of range'],
  ['{"type":"wheel","vertical":1e9,"horizontal":0}', 'wheel: vertical is missing or out of range'],
  ['{"type":"resize","scanout":0,"width":1e6,"height":480}', 'resize: width is missing or out of range'],
  ['{"type":"resize-terminal","columns":0,"rows":24}', 'resize-terminal: columns is missing or out of range'],
  ['{"type":"done","stream":"screen"}', 'done: stream is missing or out of range'],
] as const) {
  test(`the page may not send ${text || 'nothing'}`, () => {
    assert.throws(() => parsePageMessage(text), new MessageError(why))
  })
}

test('random text is a message, or a protocol error that is short enough for a close frame', () => {
  const anything = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json({ maxDepth: 1 }).map((json) => `{"type":"key","code":${json}}`),
  )
  fc.assert(
    fc.property(anything, (text) => {
      try {
        parsePageMessage(text)
      } catch (error) {
        assert.ok(error instanceof MessageError)
        assert.ok(Buffer.byteLength(error.message) <= 123)
      }
    }),
  )
})

test('a screen frame contains the mode and the rows of each rectangle', () => {
  const decoded = decodeFrame(
    frame(
      screenHeader(2, 2, { width: 1024, height: 768 }),
      rectHeader({ x: 1, y: 2, width: 2, height: 1 }),
      Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
      rectHeader({ x: 1023, y: 767, width: 1, height: 1 }),
      Uint8Array.of(9, 10, 11, 12),
    ),
  )
  assert.deepEqual(decoded, {
    kind: 'screen',
    scanout: 2,
    mode: { width: 1024, height: 768 },
    rects: [
      { x: 1, y: 2, width: 2, height: 1, words: Uint32Array.of(0x04030201, 0x08070605) },
      { x: 1023, y: 767, width: 1, height: 1, words: Uint32Array.of(0x0c0b0a09) },
    ],
  })
})

test('a frame of a screen that is off has no mode, and one of a hidden cursor no size', () => {
  assert.deepEqual(decodeFrame(frame(screenHeader(0, 0, undefined))), {
    kind: 'screen',
    scanout: 0,
    mode: undefined,
    rects: [],
  })
  const hidden = decodeFrame(frame(cursorHeader(0, undefined)))
  assert.ok(hidden.kind === 'cursor' && hidden.width === 0)
})

test('a cursor frame contains its picture and its hot spot', () => {
  const cursor = { hotX: 3, hotY: 4, width: 1, height: 2 }
  const decoded = decodeFrame(frame(cursorHeader(1, cursor), Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)))
  assert.deepEqual(decoded, { kind: 'cursor', scanout: 1, ...cursor, words: Uint32Array.of(0x04030201, 0x08070605) })
})

test('a terminal frame has flags for quiet output and for skipped output', () => {
  assert.deepEqual(decodeFrame(frame(terminalHeader(true, false), Uint8Array.of(65))), {
    kind: 'terminal',
    quiet: true,
    skipped: false,
    bytes: Uint8Array.of(65),
  })
  const skipped = decodeFrame(frame(terminalHeader(false, true)))
  assert.ok(skipped.kind === 'terminal' && skipped.skipped && !skipped.quiet)
})

test('a truncated frame and one of unknown kind are refused', () => {
  const short = frame(
    screenHeader(0, 1, { width: 9, height: 9 }),
    rectHeader({ x: 0, y: 0, width: 9, height: 9 }),
    new Uint8Array(8),
  )
  assert.throws(() => decodeFrame(short), new MessageError('frame too short'))
  assert.throws(() => decodeFrame(new ArrayBuffer(0)), new MessageError('frame too short'))
  assert.throws(() => decodeFrame(Uint8Array.of(9).buffer), new MessageError('unknown kind of frame'))
})
