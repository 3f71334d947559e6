import assert from 'node:assert/strict'
import { test } from 'node:test'
import { uuidText } from './uuid-text.ts'

test('a UUID is written in five groups', () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i * 0x11)
  assert.equal(uuidText(bytes), '00112233-4455-6677-8899-aabbccddeeff')
})
