import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { copyBytes } from './copy-bytes.ts'

test('a copy of any length is correct, also if its ranges overlap', () => {
  fc.assert(
    fc.property(fc.nat(200), fc.nat(200), fc.nat(200), fc.boolean(), (from, to, length, within) => {
      const source = Uint8Array.from({ length: 400 }, (_, i) => i)
      const target = within ? source : new Uint8Array(400)
      const expected = [...target]
      expected.splice(to, length, ...source.slice(from, from + length))
      copyBytes(source, from, target, to, length)
      assert.deepEqual([...target], expected)
    }),
  )
})
