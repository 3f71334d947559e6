import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestMemory } from './guest-memory.ts'
import { MemoryError } from './memory-error.ts'
import { MemoryRegion } from './memory-region.ts'
import { ScatterList } from './scatter-list.ts'

/** Used part of the WebAssembly API, which the compiler's library for Node does not declare. */
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number }) => { buffer: ArrayBuffer; grow(pages: number): number }
}

test('views are cached', () => {
  let asked = 0
  const bytes = new Uint8Array(64)
  const region = new MemoryRegion(0, 64, () => {
    asked++
    return bytes
  })
  assert.equal(region.u8, region.u8)
  assert.equal(region.u16, region.u16)
  assert.equal(region.u32, region.u32)
  assert.equal(asked, 1)
})

test('views are made again when WebAssembly memory grows, also in lists and queues that use the region', () => {
  const engine = new WebAssembly.Memory({ initial: 1, maximum: 4 })
  const region = new MemoryRegion(0, 4096, () => ({ buffer: engine.buffer, byteOffset: 8192 }))
  const list = new ScatterList(new GuestMemory([region]))
  list.add(16, 16)
  const before = region.u32
  before[4] = 0x01020304
  engine.grow(1)
  assert.equal(before.length, 0, 'detached')
  assert.equal(region.u32[4], 0x01020304)
  assert.equal(region.u16[8], 0x0304)
  assert.equal(region.u8[16], 4)
  const bytes = new Uint8Array(4)
  engine.grow(1)
  assert.equal(list.read(0, bytes), 4)
  assert.deepEqual([...bytes], [4, 3, 2, 1])
})

test('an invalid region throws a MemoryError', () => {
  const bytes = new Uint8Array(64)
  for (const [base, size] of [
    [-4, 64],
    [2, 64],
    [0, 0],
    [0, 62],
    [0, 2 ** 32],
    [2 ** 53 - 32, 64],
    [Number.NaN, 64],
  ]) {
    assert.throws(() => new MemoryRegion(base, size, () => bytes), MemoryError)
  }
  assert.throws(() => new MemoryRegion(0, 128, () => bytes).u8, MemoryError, 'longer than its buffer')
  assert.throws(() => MemoryRegion.over(0, bytes.subarray(2, 34)).u8, MemoryError, 'misaligned in its buffer')
})
