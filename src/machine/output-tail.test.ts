import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OutputTail } from './output-tail.ts'

test('the tail of an output is its last bytes, in order', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(fc.uint8Array({ maxLength: 60 })), (capacity, pieces) => {
      const tail = new OutputTail(capacity)
      for (const piece of pieces) tail.add(piece)
      assert.deepEqual([...tail.read()], pieces.flatMap((piece) => [...piece]).slice(-capacity))
    }),
  )
})
