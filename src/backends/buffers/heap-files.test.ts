import assert from 'node:assert/strict'
import { fstatSync, readdirSync } from 'node:fs'
import { test } from 'node:test'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Seal, sealsOf } from '../../host/linux/memory-file.ts'
import { freeHugePages, POOL } from '../../host/linux/testing/huge-pages.ts'
import { HeapFiles, HUGE_PAGE } from './heap-files.ts'

const BYTES_PER_BLOCK = 512
const skip = ffiMissing() ?? false

test('a heap is two files that cannot shrink, and only touched pages use memory', { skip }, () => {
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

test('with too few huge pages, creating a heap fails with the remedy in the message', { skip }, () => {
  const free = freeHugePages()
  const wanted = (Number.isNaN(free) ? 0 : free) + 16
  const before = openDescriptors()
  assert.throws(() => HeapFiles.create(wanted * HUGE_PAGE, HUGE_PAGE), {
    name: 'HeapFilesError',
    message: Number.isNaN(free)
      ? /^this kernel has no huge pages of 2 MiB: /
      : new RegExp(
          `^the graphics heap needs ${wanted} huge .* ${free} are free: as root, write \\d+ to ${POOL}/nr_hugepages$`,
        ),
  })
  assert.equal(openDescriptors(), before)
})

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}
