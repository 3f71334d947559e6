import assert from 'node:assert/strict'
import { fstatSync } from 'node:fs'
import { test } from 'node:test'
import { Descriptor } from './descriptor.ts'
import { HeapFiles } from './heap-files.ts'
import { Seal, sealsOf } from './memory-file.ts'

const BYTES_PER_BLOCK = 512

test('a heap is two files that cannot shrink, of which only what was touched takes memory', () => {
  const files = HeapFiles.create(64 << 20)
  try {
    const { window, store } = files
    assert.deepEqual([window.size, store.size], [64 << 20, 64 << 20])
    assert.ok(window.backing && store.backing && window.backing.fd !== store.backing.fd)
    const { fd, offset } = window.backing
    assert.equal(offset, 0)
    const borrowed = new Descriptor(fd, 'window')
    assert.equal(sealsOf(borrowed) & (Seal.SHRINK | Seal.GROW), Seal.SHRINK | Seal.GROW)
    borrowed.release()
    const taken = () => fstatSync(fd).blocks * BYTES_PER_BLOCK
    assert.equal(taken(), 0)
    window.u8.fill(0xee, 4096, 4 * 4096)
    assert.equal(taken(), 3 * 4096)
    files.discard(window, 4096, 2 * 4096)
    assert.equal(taken(), 4096)
    assert.ok(window.u8.subarray(0, 3 * 4096).every((byte) => byte === 0))
    assert.equal(window.u8[3 * 4096], 0xee)
  } finally {
    files.close()
  }
})
