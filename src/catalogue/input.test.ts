import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseInputCommand } from './input.ts'

test('events are objects with the words of a machine’s commands', () => {
  assert.deepEqual(parseInputCommand('{"type":"key","code":30,"pressed":true}'), {
    type: 'key',
    code: 30,
    pressed: true,
  })
  assert.deepEqual(parseInputCommand('{"type":"button","code":272,"pressed":false}'), {
    type: 'button',
    code: 272,
    pressed: false,
  })
  assert.deepEqual(parseInputCommand('{"type":"pointer","x":0.25,"y":1}'), {
    type: 'pointer',
    scanout: 0,
    x: 0.25,
    y: 1,
  })
  assert.deepEqual(parseInputCommand('{"type":"wheel","vertical":-1.5,"horizontal":0}'), {
    type: 'wheel',
    vertical: -1.5,
    horizontal: 0,
  })
})

test('anything else is no event', () => {
  const wrong = [
    '',
    '{',
    'null',
    '[]',
    '{"type":"key","code":"30","pressed":true}',
    '{"type":"key","code":30.5,"pressed":true}',
    '{"type":"key","code":30}',
    '{"type":"pointer","x":null,"y":0}',
    '{"type":"wheel","vertical":1}',
    '{"type":"stop"}',
  ]
  for (const line of wrong) assert.equal(parseInputCommand(line), undefined, line)
})

test('no line throws', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (line) => void parseInputCommand(line)))
})
