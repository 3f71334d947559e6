import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HeapFiles, HUGE_PAGE } from '../../../src/backends/buffers/heap-files.ts'
import { freeHugePages } from '../../../src/host/linux/testing/huge-pages.ts'

test('a heap of huge pages allocates them at creation and keeps them until it is closed', () => {
  const before = freeHugePages()
  const files = HeapFiles.create(4 * HUGE_PAGE, HUGE_PAGE)
  try {
    const { window, store, pageSize } = files
    assert.equal(pageSize, HUGE_PAGE)
    assert.equal(freeHugePages(), before - 4)
    window.u8.fill(0xee)
    store.u8.fill(0xee, 0, 4096)
    files.discard(window, HUGE_PAGE, 4096)
    files.discard(window, 2 * HUGE_PAGE, HUGE_PAGE)
    assert.equal(freeHugePages(), before - 4)
    const is = (byte: number, from: number, to: number) => window.u8.subarray(from, to).every((each) => each === byte)
    assert.ok(is(0, HUGE_PAGE, HUGE_PAGE + 4096))
    assert.ok(is(0xee, HUGE_PAGE + 4096, 2 * HUGE_PAGE))
    assert.ok(is(0, 2 * HUGE_PAGE, 3 * HUGE_PAGE))
  } finally {
    files.close()
  }
  assert.equal(freeHugePages(), before)
})
