import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryRegion } from '../../../../memory/memory-region.ts'
import { BlobMem, GpuResponse as R, GpuCommand as T } from '../protocol.ts'
import { ContextRig } from '../testing/context-rig.ts'
import { type Entry, GpuRig } from '../testing/gpu-rig.ts'
import { MemorySharing } from '../testing/memory-sharing.ts'

const PAGE = 4096
const SHAREABLE = 2
const BGRX = 2
const WHOLE = { x: 0, y: 0, width: 8, height: 4 }
const CONTEXT = 7
/** Bytes of 64 by 64 pixels of four bytes. */
const SIZE = 4 * PAGE

/**
 * Removes pages from the memory map, as DMA_UNMAP does.
 * @returns a function that adds them again, as a region of their own
 */
function unmap(gpu: GpuRig, hole: Entry): () => void {
  const { memory } = gpu.driver
  const [region] = memory.regions
  const parts = () => [
    MemoryRegion.over(0, region.u8.subarray(0, hole.address)),
    MemoryRegion.over(hole.address + hole.length, region.u8.subarray(hole.address + hole.length)),
  ]
  memory.replace(parts())
  return () =>
    memory.replace([
      ...parts(),
      MemoryRegion.over(hole.address, region.u8.subarray(hole.address, hole.address + hole.length)),
    ])
}

function words(gpu: GpuRig, entry: Entry): number[] {
  return [...new Uint32Array(gpu.driver.rigs[0].peek(entry.address, entry.length).slice().buffer)]
}

test('transfers of a 2D resource fail while its pages are not in the memory map  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  const page = gpu.page(PAGE)
  gpu.create2d(1, BGRX, 8, 4)
  gpu.attach(1, [page])
  gpu.setScanout(0, 1, WHOLE)
  gpu.poke(page, Array(32).fill(1))
  assert.equal(gpu.transfer(1, WHOLE).type, R.OK_NODATA)
  const map = unmap(gpu, page)
  gpu.poke(page, Array(32).fill(2))
  assert.equal(gpu.transfer(1, WHOLE).type, R.ERR_UNSPEC)
  assert.deepEqual(gpu.display.pixels(0).slice(0, 2), [1, 1])
  assert.equal(gpu.attach(1, [page]).type, R.ERR_UNSPEC, 'the driver did not detach it')
  map()
  assert.equal(gpu.transfer(1, WHOLE).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.pixels(0).slice(0, 2), [2, 2])
})

test('pages that left the memory map can be detached, which refunds their cost', () => {
  const gpu = new GpuRig()
  const page = gpu.page(PAGE)
  gpu.create2d(1, BGRX, 8, 4)
  const before = gpu.inspect().resources.hostBytes
  gpu.attach(1, [page])
  const map = unmap(gpu, page)
  assert.equal(gpu.detach(1).type, R.OK_NODATA)
  assert.equal(gpu.inspect().resources.hostBytes, before)
  map()
  assert.equal(gpu.transfer(1, WHOLE).type, R.ERR_UNSPEC)
})

test('transfers of a host blob do not access pages that left the memory map  @virtio 5.7.6.9', () => {
  const gpu = new ContextRig({ heapSize: 8 * SIZE })
  gpu.open(CONTEXT)
  const pages = gpu.page(SIZE)
  const { blobId, size } = gpu.require(CONTEXT, 64, 64, 'XR24')
  const blob = [1, BlobMem.HOST3D_GUEST, 0, 1, blobId, 0, size[0], 0, pages.address, 0, pages.length, 0]
  const context = { context: CONTEXT }
  assert.equal(gpu.control(T.RESOURCE_CREATE_BLOB, blob, context).type, R.OK_NODATA)
  const box = [0, 0, 0, 64, 64, 1, 0, 0, 1, 0, 0, 0]
  gpu.poke(pages, Array(SIZE / 4).fill(1))
  assert.equal(gpu.control(T.TRANSFER_TO_HOST_3D, box, context).type, R.OK_NODATA)
  const map = unmap(gpu, pages)
  gpu.poke(pages, Array(SIZE / 4).fill(2))
  assert.equal(gpu.control(T.TRANSFER_TO_HOST_3D, box, context).type, R.ERR_UNSPEC)
  assert.equal(gpu.control(T.TRANSFER_FROM_HOST_3D, box, context).type, R.ERR_UNSPEC)
  assert.ok(words(gpu, pages).every((word) => word === 2))
  map()
  assert.equal(gpu.control(T.TRANSFER_FROM_HOST_3D, box, context).type, R.OK_NODATA)
  assert.ok(words(gpu, pages).every((word) => word === 1))
})

test('a shown guest blob is black without its pages in the memory map, and exported again when they return', () => {
  const sharing = new MemorySharing()
  const gpu = new GpuRig({ sharing })
  const page = gpu.page(PAGE)
  gpu.poke(page, Array(PAGE / 4).fill(5))
  gpu.createBlob(1, PAGE, [page], BlobMem.GUEST, SHAREABLE)
  gpu.setScanoutBlob(0, 1, WHOLE)
  assert.deepEqual([gpu.display.pixels(0)[0], sharing.open.length], [5, 1])
  const map = unmap(gpu, page)
  assert.deepEqual([gpu.display.pixels(0)[0], sharing.open.length], [0, 0])
  map()
  assert.deepEqual([gpu.display.pixels(0)[0], sharing.open.length], [5, 1])
})

test('a shareable blob that can no longer be exported loses its pages when they return to the memory map', () => {
  const sharing = new MemorySharing()
  const gpu = new GpuRig({ sharing })
  const page = gpu.page(PAGE)
  gpu.createBlob(1, PAGE, [page], BlobMem.GUEST, SHAREABLE)
  const map = unmap(gpu, page)
  sharing.refusal = { problem: 'too-large', reason: 'it is larger than the host likes' }
  map()
  assert.equal(gpu.detach(1).type, R.ERR_UNSPEC, 'there is nothing to detach')
})

test('a blob in memory that stays keeps its buffer when other memory is removed', () => {
  const sharing = new MemorySharing()
  const gpu = new GpuRig({ sharing })
  const page = gpu.page(PAGE)
  gpu.createBlob(1, PAGE, [page], BlobMem.GUEST, SHAREABLE)
  const { memory } = gpu.driver
  memory.replace([...memory.regions, MemoryRegion.over(2 ** 32, new Uint8Array(PAGE))])
  memory.replace(memory.regions.slice(0, 1))
  assert.equal(sharing.buffers.length, 1)
})

test('after a reset, changes of the memory map have no effect', async () => {
  const sharing = new MemorySharing()
  const gpu = new GpuRig({ sharing })
  const page = gpu.page(PAGE)
  gpu.createBlob(1, PAGE, [page], BlobMem.GUEST, SHAREABLE)
  await gpu.driver.reset()
  unmap(gpu, page)()
  assert.deepEqual([sharing.buffers.length, sharing.open.length], [1, 0])
})
