import assert from 'node:assert/strict'
import { fstatSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Descriptor } from './descriptor.ts'
import { ffiMissing } from './ffi.ts'
import { HeapFiles, HUGE_PAGE } from './heap-files.ts'
import { Seal, sealsOf } from './memory-file.ts'

const BYTES_PER_BLOCK = 512
const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB'
const skip = ffiMissing() ?? false

/** Huge pages that are free, or NaN where there are never any. */
function freeHugePages(): number {
  const [free, promised] = ['free_hugepages', 'resv_hugepages'].map((name) => {
    try {
      return Number(readFileSync(`${POOL}/${name}`, 'latin1'))
    } catch {
      return Number.NaN
    }
  })
  return free - promised
}

const noHugePages =
  skip || (freeHugePages() >= 4 ? false : `fewer than 4 huge pages are free: write more to ${POOL}/nr_hugepages`)

test('a heap is two files that cannot shrink, of which only what was touched takes memory', { skip }, () => {
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

test('a heap of huge pages has them all from the beginning, and keeps them', { skip: noHugePages }, () => {
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

test('where there are too few huge pages there is no heap, and the error says what to write where', { skip }, () => {
  const free = freeHugePages()
  const wanted = (Number.isNaN(free) ? 0 : free) + 16
  const before = openDescriptors()
  assert.throws(() => HeapFiles.create(wanted * HUGE_PAGE, HUGE_PAGE), {
    name: 'HeapFilesError',
    message: Number.isNaN(free)
      ? /^this kernel has no huge pages of 2 MiB: /
      : new RegExp(
          `^the graphics heap takes ${wanted} huge .* ${free} are free: as root, write \\d+ to ${POOL}/nr_hugepages$`,
        ),
  })
  assert.equal(openDescriptors(), before)
})

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}
