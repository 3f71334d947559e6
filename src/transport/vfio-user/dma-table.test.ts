import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestBuffers } from '../../backends/buffers/guest-buffers.ts'
import { letteredFile, lettersOf, openDescriptors, PAGE, spansOf } from '../../backends/buffers/testing/test-memory.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import type { BounceMemory } from '../../memory/bounce-memory.ts'
import { GuestMemory } from '../../memory/guest-memory.ts'
import { DmaTable } from './dma-table.ts'
import { DmaFlag } from './protocol.ts'

const skip = ffiMissing() ?? false
const PAGES = 16
const REQUEST = { what: 'resource 7', owner: 'guest', dmaBufOnly: false } as const
const READ_WRITE = DmaFlag.READ | DmaFlag.WRITE
const whole = { flags: READ_WRITE, offset: 0, address: 0, size: PAGES * PAGE }

function rig(): { readonly memory: GuestMemory; readonly table: DmaTable; readonly buffers: GuestBuffers } {
  const memory = new GuestMemory([])
  const messages: BounceMemory = {
    read: async () => undefined,
    wrote: () => {},
    afterFlush: (then) => then(),
    flushed: () => undefined,
    run: () => {},
  }
  return {
    memory,
    table: new DmaTable(memory, messages, () => {}),
    buffers: GuestBuffers.open({ device: '/dev/there-is-none' }),
  }
}

test('a buffer keeps its pages after DMA_UNMAP, and unmapped memory cannot be shared  @vfio-user DMA_UNMAP', {
  skip,
}, () => {
  const before = openDescriptors()
  const { memory, table, buffers } = rig()
  table.map(whole, letteredFile(PAGES))
  // A second file, of which a part is mapped.
  table.map({ ...whole, offset: 4 * PAGE, address: 0x10_0000, size: 4 * PAGE }, letteredFile(PAGES, 'a'))
  const spans = spansOf(memory, [
    [9 * PAGE, PAGE],
    [0x10_0000 + PAGE, PAGE],
  ])
  const buffer = buffers.share(spans, REQUEST)
  assert.ok('kind' in buffer)
  assert.equal(lettersOf(buffer.bytes), 'Jf')
  table.unmapAll()
  table.releaseRetired()
  table.map(whole, letteredFile(PAGES, '0'))
  assert.equal(lettersOf(buffer.bytes), 'Jf')
  const late = buffers.share(spans, REQUEST)
  assert.ok(!('kind' in late))
  assert.match(late.reason, /is closed/)
  table.close()
  buffers.close()
  assert.equal(openDescriptors(), before)
})

test('shadow memory and read-only memory cannot be shared', { skip }, () => {
  const { memory, table, buffers } = rig()
  table.map(whole, undefined)
  const shadow = buffers.share(spansOf(memory, [[PAGE, PAGE]]), REQUEST)
  assert.ok(!('kind' in shadow))
  assert.equal(shadow.problem, 'no-file')
  table.unmapAll()
  table.map({ ...whole, flags: DmaFlag.READ }, letteredFile(PAGES))
  const readOnly = buffers.share(spansOf(memory, [[PAGE, PAGE]]), REQUEST)
  assert.ok(!('kind' in readOnly))
  assert.equal(readOnly.problem, 'no-file')
  table.close()
  buffers.close()
})
