import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R, GpuCommand as T } from '../protocol.ts'
import { ContextRig } from '../testing/context-rig.ts'
import { MemoryHeap } from '../testing/memory-heap.ts'
import { SlowRenderer } from '../testing/slow-renderer.ts'
import { GpuHeap } from './heap.ts'

const CONTEXT = 7
const PAGE = 4096

/** A GPU with a context that queried an image of 64 by 64: 4 pages. */
function asked(options?: ConstructorParameters<typeof ContextRig>[0]) {
  const gpu = new ContextRig(options)
  gpu.open(CONTEXT)
  const { blobId, size } = gpu.require(CONTEXT, 64, 64)
  return { gpu, blobId, size: size[0] }
}

test('RESOURCE_MAP_BLOB maps a host blob at the given offset and returns its caching  @virtio 5.7.6.9', () => {
  const { gpu, blobId, size } = asked()
  assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, size).type, R.OK_NODATA)
  const reply = gpu.map(1, 16 * PAGE)
  assert.deepEqual([reply.type, reply.written], [R.OK_MAP_INFO, 24 + 8])
  // VIRTIO_GPU_MAP_CACHE_CACHED
  assert.deepEqual([...new Uint32Array(reply.payload.slice().buffer)], [1, 0])
  assert.equal(gpu.unmap(1).type, R.OK_NODATA)
  assert.equal(gpu.unref(1).type, R.OK_NODATA)
  assert.deepEqual(gpu.inspect().heap, {
    blocks: 0,
    bytes: 0,
    quota: 1 << 20,
    mapped: 0,
    held: 0,
    stored: 0,
    moves: 0,
  })
})

test('a blob is mapped once, within the window, page-aligned, and without overlap  @virtio 5.7.6.9', () => {
  const { gpu, blobId, size } = asked()
  gpu.createHostBlob(CONTEXT, 1, blobId, size)
  gpu.createHostBlob(CONTEXT, 2, blobId, size)
  const window = gpu.memory.window.size
  for (const offset of [1, PAGE / 2, window, window - size + PAGE, 2 ** 32, 2 ** 53, 2 ** 64 - PAGE]) {
    assert.equal(gpu.map(1, offset).type, R.ERR_INVALID_PARAMETER, `${offset}`)
  }
  assert.equal(gpu.unmap(1).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.map(1, window - size).type, R.OK_MAP_INFO)
  assert.equal(gpu.map(1, window - size).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.map(1, 0).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.map(2, window - size).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.map(2, window - 2 * size).type, R.OK_MAP_INFO)
})

test('only host blobs created with USE_MAPPABLE can be mapped  @virtio 5.7.6.9', () => {
  const { gpu, blobId, size } = asked()
  gpu.create2d(1, 1, 4, 4)
  gpu.createBlob(2, PAGE, [gpu.page(PAGE)])
  for (const id of [0, 1, 2, 3]) {
    assert.equal(gpu.map(id, 0).type, R.ERR_INVALID_RESOURCE_ID)
    assert.equal(gpu.unmap(id).type, R.ERR_INVALID_RESOURCE_ID)
  }
  const shareable = 2
  assert.equal(gpu.createHostBlob(CONTEXT, 3, blobId, size, 2, shareable).type, R.OK_NODATA)
  assert.equal(gpu.map(3, 0).type, R.ERR_INVALID_PARAMETER)
})

test('a host blob needs a context, one of its objects, the right size, and a free id  @virtio 5.7.6.8', () => {
  const { gpu, blobId, size } = asked()
  assert.equal(gpu.createHostBlob(0, 1, blobId, size).type, R.ERR_INVALID_CONTEXT_ID)
  assert.equal(gpu.createHostBlob(8, 1, blobId, size).type, R.ERR_INVALID_CONTEXT_ID)
  assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId + 1, size).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createHostBlob(CONTEXT, 1, 0, size).type, R.ERR_INVALID_PARAMETER)
  for (const wrong of [0, 1, size - PAGE, size + PAGE, size + 1, 2 ** 40, 2 ** 53]) {
    assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, wrong).type, R.ERR_INVALID_PARAMETER, `${wrong}`)
  }
  for (const [blobMem, flags] of [
    [0, 1],
    [4, 1],
    [2, 8],
  ]) {
    assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, size, blobMem, flags).type, R.ERR_INVALID_PARAMETER)
  }
  assert.equal(gpu.createHostBlob(CONTEXT, 0, blobId, size).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, size).type, R.OK_NODATA)
  assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, size).type, R.ERR_INVALID_RESOURCE_ID)
  // Commands that failed allocated nothing.
  assert.equal(gpu.inspect().heap?.blocks, 1)
})

test('host blobs are bounded by the size of the heap, and freed memory is used again', () => {
  const { gpu, blobId, size } = asked({ heapSize: 10 * PAGE })
  assert.equal(size, 4 * PAGE)
  assert.equal(gpu.createHostBlob(CONTEXT, 1, blobId, size).type, R.OK_NODATA)
  assert.equal(gpu.createHostBlob(CONTEXT, 2, blobId, size).type, R.OK_NODATA)
  assert.equal(gpu.createHostBlob(CONTEXT, 3, blobId, size).type, R.ERR_OUT_OF_MEMORY)
  gpu.unref(1)
  assert.equal(gpu.createHostBlob(CONTEXT, 3, blobId, size).type, R.OK_NODATA)
})

test('a host blob is scanned out in place: surfaces read the window', () => {
  const { gpu, blobId, size } = asked()
  gpu.createHostBlob(CONTEXT, 1, blobId, size)
  gpu.map(1, 8 * PAGE)
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 64, height: 64, stride: 256 }).type, R.OK_NODATA)
  const surface = gpu.display.surfaces[0]
  assert.equal(surface?.path, 'scatter')
  gpu.memory.window.u32[(8 * PAGE + 256 + 4) / 4] = 0x11_22_33
  assert.deepEqual(gpu.display.pixels(0, { x: 0, y: 1, width: 2, height: 1 }), [0, 0x11_22_33])
  assert.equal(gpu.flush(1, { x: 1, y: 1, width: 1, height: 1 }).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.damages, [{ index: 0, x: 1, y: 1, width: 1, height: 1 }])
  assert.equal(gpu.inspect().scanouts[0].path, 'scatter')
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 64, height: 65, stride: 256 }).type, R.ERR_INVALID_PARAMETER)
})

test('a host blob reads as black until it is mapped for the first time', () => {
  const { gpu, blobId, size } = asked()
  gpu.createHostBlob(CONTEXT, 1, blobId, size)
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 1, height: 1, stride: 256 }).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.pixels(0), [0])
  gpu.map(1, PAGE)
  gpu.memory.window.u32[PAGE / 4] = 5
  assert.deepEqual(gpu.display.pixels(0), [5])
  gpu.unmap(1)
  assert.deepEqual(gpu.display.pixels(0), [5])
})

test('destroying a mapped and shown blob clears its memory, for its surface and for the next blob', () => {
  const { gpu, blobId, size } = asked()
  gpu.createHostBlob(CONTEXT, 1, blobId, size)
  gpu.map(1, 0)
  gpu.memory.window.u8.fill(0xee, 0, size)
  gpu.setScanoutBlob(0, 1, { width: 8, height: 8, stride: 256 })
  const kept = gpu.display.surfaces[0]
  assert.equal(gpu.unref(1).type, R.OK_NODATA)
  assert.equal(gpu.display.surfaces[0], undefined)
  const pixels = new Uint8Array(256).fill(1)
  assert.equal(kept?.read({ x: 0, y: 0, width: 8, height: 8 }, pixels, 0, 32), 0)
  assert.ok(pixels.every((byte) => byte === 0))
  gpu.createHostBlob(CONTEXT, 1, blobId, size)
  assert.equal(gpu.map(1, 0).type, R.OK_MAP_INFO)
  assert.ok(gpu.memory.window.u8.every((byte) => byte === 0))
})

test('a host blob stays when its context is destroyed', () => {
  const { gpu, blobId, size } = asked()
  gpu.createHostBlob(CONTEXT, 1, blobId, size)
  gpu.attachResource(CONTEXT, 1)
  gpu.destroyContext(CONTEXT)
  assert.equal(gpu.map(1, 0).type, R.OK_MAP_INFO)
  gpu.memory.window.u32[0] = 3
  gpu.setScanoutBlob(0, 1, { width: 1, height: 1, stride: 256 })
  assert.deepEqual(gpu.display.pixels(0), [3])
  // A new context with the same id does not know the object.
  gpu.createContext(CONTEXT)
  assert.equal(gpu.createHostBlob(CONTEXT, 2, blobId, size).type, R.ERR_INVALID_PARAMETER)
})

test('a blob of HOST3D cannot have guest pages  @virtio 5.7.6.8', () => {
  const { gpu, blobId, size } = asked()
  gpu.createHostBlob(CONTEXT, 1, blobId, size)
  assert.equal(gpu.attach(1, [gpu.page(size)]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createBlob(2, size, [gpu.page(size)], 2).type, R.ERR_INVALID_PARAMETER)
})

test('a blob of HOST3D_GUEST may have guest pages, not fewer than its size  @virtio 5.7.6.8', () => {
  const heap = new GpuHeap(new MemoryHeap(1 << 20))
  const gpu = new ContextRig({ heap, renderers: [new SlowRenderer(heap)] })
  gpu.createContext(CONTEXT, 4)
  const [small, large] = [gpu.page(PAGE), gpu.page(2 * PAGE)]
  const create = (id: number, { address, length }: { address: number; length: number }) => {
    const words = [id, 3, 1, 1, 0, 0, 2 * PAGE, 0, address, 0, length, 0]
    return gpu.control(T.RESOURCE_CREATE_BLOB, words, { context: CONTEXT }).type
  }
  assert.equal(create(1, small), R.ERR_INVALID_PARAMETER)
  assert.equal(heap.inspect().blocks, 0)
  assert.equal(create(1, large), R.OK_NODATA)
  assert.equal(gpu.detach(1).type, R.OK_NODATA)
  assert.equal(gpu.attach(1, [small]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.attach(1, [large]).type, R.OK_NODATA)
  assert.equal(gpu.map(1, 0).type, R.OK_MAP_INFO)
  assert.equal(gpu.createHostBlob(CONTEXT, 2, 0, 2 * PAGE + 1, 3).type, R.ERR_INVALID_PARAMETER)
})

test('a reset frees and clears the whole heap  @virtio 2.4', async () => {
  const { gpu, blobId, size } = asked()
  for (const id of [1, 2, 3]) {
    gpu.createHostBlob(CONTEXT, id, blobId, size)
    gpu.map(id, (id - 1) * size)
  }
  gpu.memory.window.u8.fill(0xee)
  // The guest can also write where nothing is mapped; only the guest reads those bytes again.
  gpu.memory.window.u8.fill(0, 3 * size)
  await gpu.driver.reset()
  assert.deepEqual(gpu.heap.inspect().blocks, 0)
  assert.ok(gpu.memory.window.u8.every((byte) => byte === 0))
})
