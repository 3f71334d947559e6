import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printableJson, printableText } from './printable-text.ts'

const HOSTILE = 'a\x1b]0;title\x07\r\n\x7f\x9b2Jb\u202ec\u2028\ud800'

test('control characters of a text are escaped', () => {
  assert.equal(printableText(HOSTILE), 'a\\x1b]0;title\\x07\\x0d\\x0a\\x7f\\x9b2Jb\\u202ec\\u2028\\ud800')
})

test('letters of any language, emoji and tabs are unchanged', () => {
  const text = 'Gerät\t磁盘 שלום 👩‍💻 \\x1b'
  assert.equal(printableText(text), text)
})

test('JSON contains no control characters and parses to the same value', () => {
  const value = { name: HOSTILE, [HOSTILE]: [1] }
  for (const indent of [undefined, 2]) {
    const json = printableJson(value, indent)
    assert.doesNotMatch(json, /(?!\n)[\p{Cc}\p{Bidi_Control}\p{Zl}]/u)
    assert.deepEqual(JSON.parse(json), value)
  }
})
