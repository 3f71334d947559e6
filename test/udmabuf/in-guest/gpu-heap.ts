import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import { readSync } from 'node:fs'
import { test } from 'node:test'
import { HeapFiles, HUGE_PAGE } from '../../../src/backends/buffers/heap-files.ts'
import { PAGE } from '../../../src/backends/buffers/testing/test-memory.ts'
import { GpuResponse } from '../../../src/devices/virtio/gpu/protocol.ts'
import { mapFile, unmap } from '../../../src/host/linux/address-space.ts'
import { systemCall } from '../../../src/host/linux/system-call.ts'
import { GpuGuest } from './gpu-guest.ts'
import { outcome, systemFigure } from './kernel.ts'

const mremap = systemCall<[address: number, from: number, to: number, flags: number]>(
  'intptr_t mremap(intptr_t address, size_t from, size_t to, int flags)',
)
const MREMAP_MAYMOVE = 1

const MIB = 1 << 20
const MODE = { width: 64, height: 64 }

test('an importer of a host blob can access the blob and nothing beside it', async () => {
  const guest = new GpuGuest()
  const size = guest.fillHeap([1, 2, 3], MODE)
  const window = guest.heap.window.u8
  const drawn = Buffer.from(window.slice(0, 3 * size))
  const buffer = [...guest.buffers.buffers].find(({ name }) => name === 'resource 2')
  assert.deepEqual([buffer?.kind, buffer?.byteLength, buffer?.inspect().pieces], ['dma-buf', size, 1])
  const back = guest.imported(buffer)
  const { fd } = back.descriptor
  assert.equal(back.size, size)
  assert.ok(drawn.subarray(size, 2 * size).equals(back.bytes))

  // The descriptor gives no access to the heap around it.
  const mapping = (offset: number, length: number) => outcome(() => unmap(mapFile('a test', fd, offset, length)))
  assert.equal(mapping(0, size), 'ok')
  assert.deepEqual(
    [mapping(0, size + PAGE), mapping(size, PAGE), mapping(size - PAGE, 2 * PAGE)],
    Array(3).fill('EINVAL'),
  )
  const pages = mapFile('a test', fd, 0, size)
  const grown = outcome(() => mremap('a test', pages.address, size, size + PAGE, MREMAP_MAYMOVE))
  assert.equal(grown, 'EFAULT')
  unmap(pages)
  assert.throws(() => readSync(fd, new Uint8Array(1)), { code: 'EINVAL' })

  // Its writes reach the guest's blob and no neighbour.
  back.bytes.fill(0xee)
  drawn.fill(0xee, size, 2 * size)
  assert.ok(drawn.equals(window.subarray(0, 3 * size)))
  guest.closeImport(back)
  await guest.close()
})

test('another driver sees writes of the guest to the window', async () => {
  const guest = new GpuGuest()
  const size = guest.fillHeap([1], MODE)
  assert.equal(guest.gpu.setScanoutBlob(0, 1, MODE).type, GpuResponse.OK_NODATA)
  assert.equal(guest.gpu.display.surfaces[0]?.path, 'dma-buf')
  const back = guest.imported()
  for (let i = 0; i < 3; i++) {
    randomFillSync(guest.heap.window.u8, 0, size)
    assert.ok(Buffer.from(back.bytes).equals(guest.heap.window.u8.subarray(0, size)))
  }
  guest.closeImport(back)
  await guest.close()
})

for (const [how, takeBack] of [
  ['destroyed', async ({ gpu }: GpuGuest) => void gpu.unref(1)],
  ['removed by a reset', ({ gpu }: GpuGuest) => gpu.driver.reset()],
] as const) {
  test(`a host blob that is ${how} stays with its importer, and its place is cleared`, async () => {
    const guest = new GpuGuest()
    const size = guest.fillHeap([1], MODE)
    const window = guest.heap.window.u8
    const drawn = Buffer.from(window.slice(0, size))
    guest.gpu.setScanoutBlob(0, 1, MODE)
    const back = guest.imported()
    await takeBack(guest)
    assert.ok(drawn.equals(back.bytes))
    assert.ok(window.subarray(0, size).every((byte) => byte === 0))
    // The next owner of the place and the importer do not share memory.
    window.fill(0x11, 0, size)
    assert.ok(drawn.equals(back.bytes))
    back.bytes.fill(0x22)
    assert.ok(window.subarray(0, size).every((byte) => byte === 0x11))
    guest.closeImport(back)
    await guest.close()
  })
}

test('a host blob in huge pages is whole ones, and their place is not reused while an importer has them', async () => {
  const guest = new GpuGuest({ heap: HeapFiles.create(4 * MIB, HUGE_PAGE) })
  const { gpu, heap } = guest
  const size = guest.fillHeap([1], MODE)
  assert.equal(size, HUGE_PAGE)
  const window = heap.window.u8
  const drawn = Buffer.from(window.slice(0, size))
  assert.deepEqual([guest.buffer.kind, guest.buffer.byteLength], ['dma-buf', size])
  const back = guest.imported()
  gpu.unref(1)
  assert.equal(guest.createHeapBlob(2, MODE), GpuResponse.OK_NODATA)
  assert.notEqual(gpu.map(2, 0).type, GpuResponse.OK_MAP_INFO)
  assert.ok(drawn.equals(back.bytes))
  guest.closeImport(back)
  assert.equal(gpu.map(2, 0).type, GpuResponse.OK_MAP_INFO)
  assert.ok(window.subarray(0, size).every((byte) => byte === 0))
  await guest.close()
  assert.equal(systemFigure('HugePages_Free'), systemFigure('HugePages_Total'))
})
