import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode } from 'fast-png'
import { encodePng } from './screenshot.ts'

test('a PNG holds the pixels in the order red, green, blue', () => {
  const data = Uint8Array.of(3, 2, 1, 0, 30, 20, 10, 0)
  const image = decode(encodePng({ x: 0, y: 0, width: 2, height: 1, data }))
  assert.equal(image.width, 2)
  assert.equal(image.height, 1)
  assert.deepEqual([...image.data], [1, 2, 3, 10, 20, 30])
})
