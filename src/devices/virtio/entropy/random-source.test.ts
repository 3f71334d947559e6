import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cryptoRandomSource } from '../../../services/random-source.ts'

/** True if 1024 bytes look random: about 5 of the 256 values are missing, and never half of them. */
function looksRandom(bytes: Uint8Array): boolean {
  return new Set(bytes).size > 128
}

/** Growable, like WebAssembly memory. The type declarations lack the constructor's second argument. */
const growing = { maxByteLength: 1 << 20 }

for (const [name, buffer] of [
  ['memory of its own', new ArrayBuffer(300_000)],
  ['memory that can grow', Reflect.construct(ArrayBuffer, [300_000, growing]) as ArrayBuffer],
  ['shared memory', new SharedArrayBuffer(300_000)],
  ['shared memory that can grow', Reflect.construct(SharedArrayBuffer, [300_000, growing]) as SharedArrayBuffer],
] as const) {
  test(`cryptoRandomSource fills a view on ${name}, and no bytes outside it`, () => {
    for (const length of [0, 1, 4095, 4096, 4097, 65_536, 65_537, 200_001]) {
      const all = new Uint8Array(buffer)
      all.fill(0xaa)
      cryptoRandomSource.fill(all.subarray(7, 7 + length))
      assert.ok(all.subarray(0, 7).every((byte) => byte === 0xaa))
      assert.ok(all.subarray(7 + length).every((byte) => byte === 0xaa))
      if (length < 1024) continue
      assert.ok(looksRandom(all.subarray(7, 7 + 1024)), 'the start is random')
      assert.ok(looksRandom(all.subarray(7 + length - 1024, 7 + length)), 'the end is random')
    }
  })
}

test('two calls of fill write different bytes', () => {
  const first = new Uint8Array(32)
  const second = new Uint8Array(32)
  cryptoRandomSource.fill(first)
  cryptoRandomSource.fill(second)
  assert.notDeepEqual(first, second)
})
