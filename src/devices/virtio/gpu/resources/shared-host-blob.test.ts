import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R } from '../protocol.ts'
import { ContextRig } from '../testing/context-rig.ts'
import { MemoryHeap } from '../testing/memory-heap.ts'
import { MemorySharing } from '../testing/memory-sharing.ts'
import { GpuHeap } from './heap.ts'

const CONTEXT = 7
const PAGE = 4096
/** Bytes of 64 by 64 pixels. */
const SIZE = 4 * PAGE
const IMAGE = { width: 64, height: 64, stride: 256 }
const [MAPPABLE, SHAREABLE] = [1, 2]
const BOTH = MAPPABLE | SHAREABLE

/** A GPU whose heap has room for four such images, and a context that queried one. */
function rig() {
  const sharing = new MemorySharing()
  const gpu = new ContextRig({ sharing, heapSize: 4 * SIZE })
  gpu.open(CONTEXT)
  const { blobId } = gpu.require(CONTEXT, 64, 64)
  return {
    gpu,
    sharing,
    create: (id: number, flags = BOTH) => gpu.createHostBlob(CONTEXT, id, blobId, SIZE, 2, flags).type,
    /** Fills a place in the window. */
    draw: (offset: number, byte: number) => gpu.memory.window.u8.fill(byte, offset, offset + SIZE),
  }
}

test('a shareable host blob is exported when it is mapped, with exactly its range of the heap', () => {
  const { gpu, sharing, create, draw } = rig()
  assert.equal(create(1), R.OK_NODATA)
  assert.equal(sharing.buffers.length, 0)
  assert.equal(gpu.map(1, SIZE).type, R.OK_MAP_INFO)
  assert.deepEqual(sharing.requests, [{ what: 'resource 1', owner: 'heap', dmaBufOnly: false }])
  const [buffer] = sharing.buffers
  draw(0, 1)
  draw(SIZE, 2)
  draw(2 * SIZE, 3)
  assert.equal(buffer.byteLength, SIZE)
  assert.ok(buffer.bytes.every((byte) => byte === 2))
  gpu.unmap(1)
  assert.equal(gpu.map(1, SIZE).type, R.OK_MAP_INFO)
  assert.deepEqual([sharing.buffers.length, buffer.closed], [1, 0])
  gpu.unref(1)
  assert.equal(buffer.closed, 1)
})

test('mapping a shareable host blob that cannot be exported fails', () => {
  const { gpu, sharing, create } = rig()
  sharing.refusal = { problem: 'no-memory', reason: 'there is none' }
  create(1)
  assert.equal(gpu.map(1, 0).type, R.ERR_UNSPEC)
  assert.equal(gpu.inspect().heap?.mapped, 0)
  assert.equal(gpu.unmap(1).type, R.ERR_INVALID_PARAMETER)
  create(2, MAPPABLE)
  assert.equal(gpu.map(2, 0).type, R.OK_MAP_INFO)
  sharing.refusal = undefined
  assert.equal(gpu.map(1, SIZE).type, R.OK_MAP_INFO)
  assert.equal(sharing.buffers.length, 1)
})

test('a host blob on a scanout is exported, at the latest when it is mapped', () => {
  const { gpu, sharing, create, draw } = rig()
  for (const id of [1, 2]) create(id, MAPPABLE)
  gpu.map(1, 0)
  gpu.setScanoutBlob(0, 1, IMAGE)
  assert.equal(gpu.display.surfaces[0]?.buffer, sharing.buffers[0])
  gpu.setScanoutBlob(0, 2, IMAGE)
  const [black] = gpu.display.surfaces
  assert.deepEqual([black?.path, black?.buffer], ['scatter', undefined])
  assert.match(black?.reason ?? '', /never mapped/)
  gpu.map(2, SIZE)
  draw(SIZE, 9)
  const [after] = gpu.display.surfaces
  assert.notEqual(after, black)
  assert.deepEqual([after?.path, after?.buffer], ['dma-buf', sharing.buffers[1]])
  assert.deepEqual(gpu.display.pixels(0, { x: 63, y: 63, width: 1, height: 1 }), [0x0909_0909])
})

test('an exported host blob keeps its place: the guest can neither move it nor map another blob there', () => {
  const { gpu, sharing, create, draw } = rig()
  create(1)
  create(2)
  gpu.map(1, SIZE)
  draw(SIZE, 5)
  gpu.unmap(1)
  for (const offset of [PAGE, SIZE, 2 * SIZE - PAGE]) assert.equal(gpu.map(2, offset).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.map(1, 2 * SIZE).type, R.ERR_OUT_OF_MEMORY)
  assert.deepEqual([gpu.inspect().heap?.moves, sharing.open.length], [0, 1])
  assert.ok(sharing.buffers[0].bytes.every((byte) => byte === 5))
  assert.equal(gpu.map(1, SIZE).type, R.OK_MAP_INFO)
  gpu.unref(1)
  assert.equal(gpu.map(2, SIZE).type, R.OK_MAP_INFO)
  assert.ok(sharing.buffers[1].bytes.every((byte) => byte === 0))
})

test('a host blob that was moved to the store is not exported until it is mapped again', () => {
  const { gpu, sharing, create, draw } = rig()
  create(1, MAPPABLE)
  create(2, MAPPABLE)
  gpu.map(1, 0)
  draw(0, 6)
  gpu.unmap(1)
  gpu.map(2, 0)
  assert.equal(gpu.inspect().heap?.stored, 1)
  gpu.setScanoutBlob(0, 1, IMAGE)
  assert.deepEqual([gpu.display.surfaces[0]?.path, sharing.buffers.length], ['scatter', 0])
  assert.deepEqual(gpu.display.pixels(0, { x: 0, y: 0, width: 1, height: 1 }), [0x0606_0606])
  assert.equal(gpu.map(1, SIZE).type, R.OK_MAP_INFO)
  assert.equal(gpu.display.surfaces[0]?.buffer, sharing.buffers[0])
  assert.ok(sharing.buffers[0].bytes.every((byte) => byte === 6))
})

test('a place that a consumer maps is not reused until the consumer releases it, even after a reset', async () => {
  const { gpu, sharing, create, draw } = rig()
  sharing.kind = 'linear'
  for (const id of [1, 2, 3, 4]) create(id)
  for (const id of [1, 2]) gpu.map(id, (id - 1) * SIZE)
  draw(0, 1)
  draw(SIZE, 2)
  for (const buffer of sharing.buffers) buffer.held = true
  gpu.unref(1)
  assert.equal(sharing.buffers[0].closed, 1)
  assert.deepEqual([gpu.inspect().heap?.held, gpu.inspect().heap?.blocks], [1, 4])
  assert.equal(create(5), R.ERR_OUT_OF_MEMORY, 'its bytes count towards the quota')
  assert.equal(gpu.map(3, 0).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.memory.window.u8[0], 1)
  await gpu.driver.reset()
  assert.deepEqual([gpu.heap.inspect().held, gpu.heap.inspect().blocks], [2, 2])
  assert.deepEqual([gpu.memory.window.u8[0], gpu.memory.window.u8[SIZE]], [1, 2])
  sharing.buffers[0].held = false
  assert.deepEqual([gpu.heap.inspect().held, gpu.heap.inspect().blocks], [1, 1])
  assert.deepEqual([gpu.memory.window.u8[0], gpu.memory.window.u8[SIZE]], [0, 2])
  sharing.buffers[1].held = false
  const block = gpu.heap.create(4 * SIZE)
  assert.ok(block)
  assert.equal(gpu.heap.map(block, 0), R.OK_NODATA)
  assert.ok(gpu.memory.window.u8.every((byte) => byte === 0))
})

test('a dma-buf holds its pages, so its place is reused at once', () => {
  const { gpu, sharing, create } = rig()
  create(1)
  create(2)
  gpu.map(1, 0)
  sharing.buffers[0].held = true
  gpu.unref(1)
  assert.deepEqual(gpu.memory.discarded, [{ where: 'window', offset: 0, length: SIZE }])
  assert.equal(gpu.map(2, 0).type, R.OK_MAP_INFO)
})

test('a heap of larger pages aligns places and sizes to them, as blob_alignment states  @virtio 5.7.4.1', () => {
  const pageSize = 4 * PAGE
  const memory = Object.assign(new MemoryHeap(4 * pageSize), { pageSize })
  const heap = new GpuHeap(memory)
  const gpu = new ContextRig({ heap })
  assert.equal(gpu.device.config.view.getUint32(16, true), pageSize)
  gpu.open(CONTEXT)
  const { blobId, size } = gpu.require(CONTEXT, 8, 8)
  assert.equal(size[0], pageSize)
  assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, PAGE).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, pageSize).type, R.OK_NODATA)
  for (const offset of [PAGE, pageSize - PAGE]) assert.equal(gpu.map(1, offset).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.map(1, pageSize).type, R.OK_MAP_INFO)
  assert.equal(heap.create(1)?.length, pageSize)
})
