import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R, GpuCommand as T } from '../protocol.ts'
import { GpuRig } from '../testing/gpu-rig.ts'

const hostBytes = (gpu: GpuRig) => gpu.inspect().resources.hostBytes
const RECT = { x: 0, y: 0, width: 4, height: 4 }
/** A RESOURCE_CREATE_BLOB whose arguments are right, except those under test. */
const blobRequest = (id: number, count: number, entries: readonly number[]) => [
  ...[id, 1, 0, count, 0, 0, 4096, 0],
  ...entries,
]

test('a 2D resource may have each of the eight formats, and no other  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  for (const [i, format] of [1, 2, 3, 4, 67, 68, 121, 134].entries()) {
    assert.equal(gpu.create2d(i + 1, format, 4, 4).type, R.OK_NODATA, `format ${format}`)
  }
  for (const format of [0, 5, 66, 135, 0xffff_ffff]) {
    assert.equal(gpu.create2d(99, format, 4, 4).type, R.ERR_INVALID_PARAMETER, `format ${format}`)
  }
})

test('a resource without pixels, with id 0, or with an id in use is refused  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  assert.equal(gpu.create2d(1, 1, 0, 4).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.create2d(1, 1, 4, 0).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.create2d(0, 1, 4, 4).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.create2d(1, 1, 4, 4).type, R.OK_NODATA)
  assert.equal(gpu.create2d(1, 1, 4, 4).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.createBlob(1, 4096, [gpu.page(4096)]).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.createBlob(0, 4096, [gpu.page(4096)]).type, R.ERR_INVALID_RESOURCE_ID)
})

test('resources above maxHostBytes are refused, whatever their size', () => {
  const gpu = new GpuRig({ maxHostBytes: 1 << 20 })
  assert.equal(gpu.create2d(1, 1, 0xffff_ffff, 0xffff_ffff).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.create2d(1, 1, 0x4000_0001, 1).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.create2d(1, 1, 512, 512).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.create2d(1, 1, 511, 512).type, R.OK_NODATA)
  assert.equal(gpu.create2d(2, 1, 511, 512).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.unref(1).type, R.OK_NODATA)
  assert.equal(gpu.create2d(2, 1, 511, 512).type, R.OK_NODATA)
})

test('the host memory of scattered backing is bounded, too', () => {
  const gpu = new GpuRig({ maxHostBytes: 76 << 10 })
  const { address } = gpu.page(1 << 20)
  // Every other page, so that nothing merges.
  const entries = Array.from({ length: 100 }, (_, i) => ({ address: address + i * 8192, length: 4096 }))
  assert.equal(gpu.createBlob(1, 100 * 4096, entries).type, R.OK_NODATA)
  assert.equal(gpu.createBlob(2, 100 * 4096, entries).type, R.OK_NODATA)
  assert.equal(gpu.createBlob(3, 100 * 4096, entries).type, R.OK_NODATA)
  assert.equal(gpu.createBlob(4, 100 * 4096, entries).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.createBlob(4, 100 * 4096, []).type, R.OK_NODATA)
  assert.equal(gpu.attach(4, entries).type, R.ERR_OUT_OF_MEMORY)
  gpu.detach(1)
  assert.equal(gpu.attach(4, entries).type, R.OK_NODATA)
  for (const id of [1, 2, 3, 4]) gpu.unref(id)
  assert.equal(hostBytes(gpu), 0)
})

test('the number of resources is bounded', () => {
  const gpu = new GpuRig()
  let id = 1
  while (gpu.create2d(id, 1, 1, 1).type === R.OK_NODATA) id++
  assert.equal(id, 16385)
  assert.equal(gpu.create2d(id, 1, 1, 1).type, R.ERR_OUT_OF_MEMORY)
})

test('backing must lie in guest memory, and is attached as a whole or not at all  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig({}, { memorySize: 1 << 20 })
  gpu.create2d(1, 1, 4, 4)
  const before = hostBytes(gpu)
  const good = gpu.page(4096)
  for (const bad of [
    { address: 1 << 20, length: 1 },
    { address: (1 << 20) - 64, length: 65 },
    { address: 2 ** 32, length: 4096 },
    { address: 2 ** 53, length: 4096 },
    { address: 0xffff_ffff_ffff_f000, length: 4096 },
    { address: 0, length: 0xffff_ffff },
  ]) {
    assert.equal(gpu.attach(1, [good, bad]).type, R.ERR_INVALID_PARAMETER, JSON.stringify(bad))
    assert.equal(gpu.createBlob(2, 64, [good, bad]).type, R.ERR_INVALID_PARAMETER, JSON.stringify(bad))
  }
  assert.equal(hostBytes(gpu), before)
  assert.equal(gpu.attach(1, [good]).type, R.OK_NODATA)
})

test('no entries, and more entries than the request contains, are an error  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 1, 4, 4)
  const page = gpu.page(4096)
  assert.equal(gpu.attach(1, [page], 2).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.attach(1, [], 0).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.attach(1, [{ ...page, length: 0 }]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.attach(1, [page], 16385).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.attach(1, [page], 0xffff_ffff).type, R.ERR_OUT_OF_MEMORY)
  const request = blobRequest(2, 0xffff_ffff, [page.address, 0, 4096, 0])
  assert.equal(gpu.control(T.RESOURCE_CREATE_BLOB, request).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.control(T.RESOURCE_CREATE_BLOB, blobRequest(2, 2, request.slice(8))).type, R.ERR_INVALID_PARAMETER)
})

test('a backing of 16384 single pages is attached', () => {
  const gpu = new GpuRig({}, { memorySize: 64 << 20 })
  const { address } = gpu.page(8192)
  const entries = Array.from({ length: 16384 }, (_, i) => ({ address: address + (i % 2 ? 0 : 4096), length: 4096 }))
  assert.equal(gpu.createBlob(1, 16384 * 4096, entries).type, R.OK_NODATA)
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 4096, height: 4096 }).type, R.OK_NODATA)
  gpu.poke({ address, length: 8192 }, [0x11])
  gpu.poke({ address: address + 4096, length: 4096 }, [0x22])
  assert.deepEqual(gpu.display.pixels(0, { x: 1023, y: 4095, width: 2, height: 1 }), [0, 0x11])
  assert.deepEqual(gpu.display.pixels(0, { x: 2048, y: 4095, width: 1, height: 1 }), [0x22])
})

test('a resource has one backing at a time  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 1, 4, 4)
  assert.equal(gpu.detach(1).type, R.ERR_UNSPEC)
  assert.equal(gpu.transfer(1, RECT).type, R.ERR_UNSPEC)
  assert.equal(gpu.attach(1, [gpu.page(64)]).type, R.OK_NODATA)
  assert.equal(gpu.attach(1, [gpu.page(64)]).type, R.ERR_UNSPEC)
  assert.equal(gpu.detach(1).type, R.OK_NODATA)
  assert.equal(gpu.attach(1, [gpu.page(64)]).type, R.OK_NODATA)
})

test('commands that name no resource get ERR_INVALID_RESOURCE_ID  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  for (const id of [0, 1, 0xffff_ffff]) {
    assert.equal(gpu.unref(id).type, R.ERR_INVALID_RESOURCE_ID)
    assert.equal(gpu.attach(id, [gpu.page(64)]).type, R.ERR_INVALID_RESOURCE_ID)
    assert.equal(gpu.detach(id).type, R.ERR_INVALID_RESOURCE_ID)
    assert.equal(gpu.flush(id, RECT).type, R.ERR_INVALID_RESOURCE_ID)
    assert.equal(gpu.transfer(id, RECT).type, R.ERR_INVALID_RESOURCE_ID)
  }
  assert.equal(gpu.setScanout(0, 1, RECT).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.setScanoutBlob(0, 1, RECT).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.updateCursor(0, 1).type, R.ERR_INVALID_RESOURCE_ID)
})

test('without a heap a blob is guest memory, with known flags, and not larger than its pages  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  const page = gpu.page(4096)
  for (const blobMem of [0, 2, 3, 4]) {
    assert.equal(gpu.createBlob(1, 4096, [page], blobMem).type, R.ERR_INVALID_PARAMETER, `blob_mem ${blobMem}`)
  }
  assert.equal(gpu.createBlob(1, 4096, [page], 1, 8).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createBlob(1, 4097, [page]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createBlob(1, 0, [page]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createBlob(1, 2 ** 63, []).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createBlob(1, 4096, [page], 1, 7).type, R.OK_NODATA)
  assert.equal(gpu.createBlob(2, 2 ** 40, []).type, R.OK_NODATA)
  assert.equal(gpu.attach(2, [page]).type, R.ERR_INVALID_PARAMETER)
})

test('a transfer copies exactly its rectangle, from the given offset  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  const width = 6
  const height = 5
  const words = Array.from({ length: width * height }, (_, i) => 0x100 + i)
  const first = gpu.page(4 * 7)
  const second = gpu.page(4 * (words.length - 7))
  gpu.poke(first, words.slice(0, 7))
  gpu.poke(second, words.slice(7))
  gpu.create2d(1, 2, width, height)
  gpu.attach(1, [first, second])
  gpu.setScanout(0, 1, { x: 0, y: 0, width, height })
  assert.equal(gpu.transfer(1, { x: 2, y: 1, width: 3, height: 3 }, 4 * (width + 2)).type, R.OK_NODATA)
  const expected = words.map((word, i) => {
    const [x, y] = [i % width, Math.floor(i / width)]
    return x >= 2 && x < 5 && y >= 1 && y < 4 ? word : 0
  })
  assert.deepEqual(gpu.display.pixels(0), expected)
  // Whole rows are copied in one call; the offset is independent of the rectangle.
  gpu.transfer(1, { x: 0, y: 3, width, height: 2 }, 0)
  assert.deepEqual(gpu.display.pixels(0).slice(18), words.slice(0, 12))
})

test('a transfer outside the resource or its backing copies nothing  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 2, 8, 4)
  gpu.attach(1, [gpu.page(8 * 4 * 4)])
  for (const [x, y, width, height, offset] of [
    [0, 0, 9, 1, 0],
    [0, 0, 8, 5, 0],
    [7, 3, 2, 1, 0],
    [0xffff_ffff, 0, 2, 1, 0],
    [0, 0xffff_fffe, 1, 3, 0],
    [1, 1, 0xffff_ffff, 0xffff_ffff, 0],
    [0, 0, 0, 1, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 8, 4, 1],
    [0, 0, 8, 4, 2 ** 63],
    [0, 0, 1, 1, 8 * 4 * 4 - 3],
  ]) {
    const reply = gpu.transfer(1, { x, y, width, height }, offset)
    assert.equal(reply.type, R.ERR_INVALID_PARAMETER, JSON.stringify([x, y, width, height, offset]))
  }
  assert.equal(gpu.transfer(1, { x: 7, y: 3, width: 1, height: 1 }, 8 * 4 * 4 - 4).type, R.OK_NODATA)
})

test('a 2D resource keeps its pixels when its pages are detached  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  const page = gpu.page(64)
  gpu.poke(page, Array(16).fill(0x123456))
  gpu.create2d(1, 2, 4, 4)
  gpu.attach(1, [page])
  gpu.setScanout(0, 1, RECT)
  gpu.transfer(1, RECT)
  gpu.poke(page, Array(16).fill(0))
  gpu.detach(1)
  assert.deepEqual(gpu.display.pixels(0), Array(16).fill(0x123456))
})

test('a transfer to a guest blob copies nothing', () => {
  const gpu = new GpuRig()
  gpu.createBlob(1, 4096, [gpu.page(4096)])
  assert.equal(gpu.transfer(1, RECT).type, R.OK_NODATA)
  gpu.setScanoutBlob(0, 1, RECT)
  assert.equal(gpu.inspect().scanouts[0].bytesTransferred, 0)
})

test('the number of rows that are copied one by one is bounded  @virtio 5.7.6.8 TRANSFER_TO_HOST_2D', () => {
  const gpu = new GpuRig()
  const rows = 16_385
  gpu.create2d(1, 1, 2, rows)
  gpu.attach(1, [gpu.page(rows * 8)])
  assert.equal(gpu.transfer(1, { x: 0, y: 0, width: 2, height: rows }).type, R.OK_NODATA)
  assert.equal(gpu.transfer(1, { x: 0, y: 0, width: 1, height: rows }).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.transfer(1, { x: 0, y: 0, width: 1, height: rows - 1 }).type, R.OK_NODATA)
})
