import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestBuffers } from '../../backends/buffers/guest-buffers.ts'
import { letteredFile, lettersOf, openDescriptors, PAGE, spansOf } from '../../backends/buffers/testing/test-memory.ts'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryTable } from './memory-table.ts'

const skip = ffiMissing() ?? false
const PAGES = 16
const REQUEST = { what: 'resource 7', owner: 'guest', dmaBufOnly: false } as const

/** Describes a region that is a whole file. */
function regionOf(guestAddress: number): Parameters<MemoryTable['add']>[0] {
  return { guestAddress, size: PAGES * PAGE, userAddress: 0x7f00_0000_0000 + guestAddress, mmapOffset: 0 }
}

function lettersAt(table: MemoryTable, buffers: GuestBuffers, pages: readonly number[]): string {
  const spans = spansOf(
    table.memory,
    pages.map((page) => [page * PAGE, PAGE]),
  )
  const buffer = buffers.share(spans, REQUEST)
  return 'kind' in buffer ? lettersOf(buffer.bytes) : buffer.reason
}

test('pages of memory regions can be shared, whatever the offsets of the regions in their files', {
  skip,
}, () => {
  const table = new MemoryTable(() => {})
  table.add({ ...regionOf(0), size: 4 * PAGE, mmapOffset: 2 * PAGE }, letteredFile(PAGES, 'A'))
  table.add(regionOf(4 * PAGE), letteredFile(PAGES, 'a'))
  const buffers = GuestBuffers.open({ device: '/dev/there-is-none' })
  assert.equal(lettersAt(table, buffers, [3, 4, 0, 1]), 'FaCD')
  buffers.close()
  table.close()
})

test('a buffer keeps its pages after a new memory table, and removed memory cannot be shared  @vhost-user SET_MEM_TABLE', {
  skip,
}, () => {
  const before = openDescriptors()
  const buffers = GuestBuffers.open({ device: '/dev/there-is-none' })
  const table = new MemoryTable(() => {})
  table.set([regionOf(0)], [letteredFile(PAGES, 'A')])
  const old = spansOf(table.memory, [
    [5 * PAGE, PAGE],
    [2 * PAGE, PAGE],
  ])
  const buffer = buffers.share(old, REQUEST)
  assert.ok('kind' in buffer)
  table.set([regionOf(0)], [letteredFile(PAGES, 'a')])
  table.releaseRetired()
  assert.equal(lettersOf(buffer.bytes), 'FC')
  assert.equal(lettersAt(table, buffers, [5, 2]), 'fc')
  const late = buffers.share(old, REQUEST)
  assert.ok(!('kind' in late))
  assert.match(late.reason, /is closed/)
  table.close()
  assert.equal(lettersOf(buffer.bytes), 'FC')
  buffers.close()
  assert.equal(openDescriptors(), before)
})

test('a buffer keeps the pages of a removed region  @vhost-user REM_MEM_REG', { skip }, () => {
  const buffers = GuestBuffers.open({ device: '/dev/there-is-none' })
  const table = new MemoryTable(() => {})
  const file: Descriptor = letteredFile(PAGES, 'A')
  table.add(regionOf(0), file)
  const buffer = buffers.share(spansOf(table.memory, [[PAGE, PAGE]]), REQUEST)
  assert.ok('kind' in buffer)
  table.remove(regionOf(0))
  table.releaseRetired()
  assert.ok(file.closed)
  assert.equal(lettersOf(buffer.bytes), 'B')
  buffers.close()
  table.close()
})
