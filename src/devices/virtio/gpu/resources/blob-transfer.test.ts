import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R, GpuCommand as T } from '../protocol.ts'
import { ContextRig } from '../testing/context-rig.ts'
import type { Entry } from '../testing/gpu-rig.ts'
import { MemorySharing } from '../testing/memory-sharing.ts'

const CONTEXT = 7
const PAGE = 4096
/** Bytes of 64 by 64 pixels of four bytes, and of NV12. */
const [SIZE, NV12_SIZE] = [4 * PAGE, 6 * PAGE]
const [MAPPABLE, SHAREABLE] = [1, 2]
const HOST3D_GUEST = 3

interface Box {
  readonly x?: number
  readonly y?: number
  readonly z?: number
  readonly width?: number
  readonly height?: number
  readonly depth?: number
  readonly offset?: number
  readonly level?: number
  readonly stride?: number
  readonly layerStride?: number
}

class Rig extends ContextRig {
  readonly sharing: MemorySharing

  constructor() {
    const sharing = new MemorySharing()
    super({ sharing, heapSize: 8 * SIZE })
    this.sharing = sharing
    this.open(CONTEXT)
  }

  /** Creates a blob of HOST3D_GUEST: host memory, and guest pages of its own. */
  createBoth(id: number, pages: readonly Entry[], flags = SHAREABLE, format = 'XR24'): number {
    const { blobId, size } = this.require(CONTEXT, 64, 64, format)
    const entries = pages.flatMap(({ address, length }) => [address, 0, length, 0])
    const words = [id, HOST3D_GUEST, flags, pages.length, blobId, 0, size[0], 0, ...entries]
    return this.control(T.RESOURCE_CREATE_BLOB, words, { context: CONTEXT }).type
  }

  transfer3d(type: number, id: number, box: Box): number {
    const { x = 0, y = 0, z = 0, width = 64, height = 64, depth = 1 } = box
    const { offset = 0, level = 0, stride = 0, layerStride = 0 } = box
    const words = [x, y, z, width, height, depth, offset, 0, id, level, stride, layerStride]
    return this.control(type, words, { context: CONTEXT }).type
  }

  toHost(id: number, box: Box = {}): number {
    return this.transfer3d(T.TRANSFER_TO_HOST_3D, id, box)
  }

  fromHost(id: number, box: Box = {}): number {
    return this.transfer3d(T.TRANSFER_FROM_HOST_3D, id, box)
  }

  words(entry: Entry): number[] {
    return [...new Uint32Array(this.driver.rigs[0].peek(entry.address, entry.length).slice().buffer)]
  }
}

/** Words that count up. */
const countingWords = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i)

test('TRANSFER_TO_HOST_3D copies exactly its box to the same place of the host blob  @virtio 5.7.6.9', () => {
  const gpu = new Rig()
  const pages = gpu.page(SIZE)
  gpu.poke(pages, countingWords(1000, SIZE / 4))
  assert.equal(gpu.createBoth(1, [pages]), R.OK_NODATA)
  const box = { x: 3, y: 5, width: 4, height: 2, offset: 5 * 256 + 3 * 4 }
  assert.equal(gpu.toHost(1, box), R.OK_NODATA)
  const [{ bytes }] = gpu.sharing.buffers
  const host = new Uint32Array(bytes.buffer)
  const expected = new Uint32Array(SIZE / 4)
  for (const row of [5, 6]) for (const column of [3, 4, 5, 6]) expected[row * 64 + column] = 1000 + row * 64 + column
  assert.deepEqual(host, expected)
})

test('the stride of a transfer is the stride in the guest pages', () => {
  const gpu = new Rig()
  const pages = gpu.page(SIZE)
  gpu.poke(pages, countingWords(0, SIZE / 4))
  gpu.createBoth(1, [pages])
  assert.equal(gpu.toHost(1, { width: 2, height: 3, offset: 40, stride: 8 }), R.OK_NODATA)
  const host = new Uint32Array(gpu.sharing.buffers[0].bytes.buffer)
  assert.deepEqual([...host.subarray(0, 3), host[64], host[65], host[128], host[129]], [10, 11, 0, 12, 13, 14, 15])
})

test('TRANSFER_FROM_HOST_3D copies exactly its box to scattered guest pages  @virtio 5.7.6.9', () => {
  const gpu = new Rig()
  const all = gpu.page(2 * SIZE)
  const pages = [6, 4, 2, 0].map((i) => ({ address: all.address + i * PAGE, length: PAGE }))
  for (const [i, page] of pages.entries()) gpu.poke(page, countingWords(i * 1024, 1024))
  gpu.createBoth(1, pages)
  gpu.toHost(1)
  gpu.poke(all, Array(SIZE / 2).fill(7))
  // A page has 16 rows.
  assert.equal(gpu.fromHost(1, { y: 15, width: 1, height: 2, offset: 15 * 256 }), R.OK_NODATA)
  const expected = pages.map(() => Array(1024).fill(7))
  expected[0][15 * 64] = 15 * 64
  expected[1][0] = 1024
  assert.deepEqual(
    pages.map((page) => gpu.words(page)),
    expected,
  )
})

test('a host blob that was never written transfers zeroes', () => {
  const gpu = new Rig()
  const pages = gpu.page(SIZE)
  gpu.poke(pages, Array(SIZE / 4).fill(7))
  gpu.createBoth(1, [pages], MAPPABLE)
  assert.equal(gpu.fromHost(1), R.OK_NODATA)
  assert.ok(gpu.words(pages).every((word) => word === 0))
})

test('a host blob is exported from the store at creation, or if mappable when it is mapped', () => {
  const gpu = new Rig()
  const pages = gpu.page(SIZE)
  gpu.poke(pages, Array(SIZE / 4).fill(7))
  gpu.createBoth(1, [pages], SHAREABLE)
  assert.deepEqual([gpu.sharing.buffers.length, gpu.inspect().heap?.stored], [1, 1])
  gpu.createBoth(2, [pages], SHAREABLE | MAPPABLE)
  gpu.toHost(2)
  assert.deepEqual([gpu.sharing.buffers.length, gpu.inspect().heap?.stored], [1, 2])
  assert.equal(gpu.map(2, 0).type, R.OK_MAP_INFO)
  assert.deepEqual([gpu.sharing.buffers.length, gpu.inspect().heap?.stored], [2, 1])
  assert.ok(gpu.memory.window.u32.subarray(0, SIZE / 4).every((word) => word === 7))
  gpu.sharing.refusal = { problem: 'no-memory', reason: 'there is none' }
  assert.equal(gpu.createBoth(3, [pages], SHAREABLE), R.ERR_UNSPEC)
  assert.deepEqual([gpu.inspect().heap?.blocks, gpu.inspect().heap?.stored], [2, 1])
})

test('attaching other guest pages does not change the buffer of a host blob', () => {
  const gpu = new Rig()
  const [first, second] = [gpu.page(SIZE), gpu.page(SIZE)]
  gpu.poke(first, Array(SIZE / 4).fill(1))
  gpu.createBoth(1, [first])
  gpu.toHost(1)
  assert.equal(gpu.detach(1).type, R.OK_NODATA)
  assert.equal(gpu.toHost(1), R.ERR_UNSPEC)
  assert.equal(gpu.attach(1, [second]).type, R.OK_NODATA)
  assert.equal(gpu.fromHost(1), R.OK_NODATA)
  assert.ok(gpu.words(second).every((word) => word === 1))
  assert.deepEqual([gpu.sharing.buffers.length, gpu.sharing.buffers[0].closed], [1, 0])
})

test('a blob with several planes is transferred as a sequence of bytes', () => {
  const gpu = new Rig()
  const pages = gpu.page(NV12_SIZE)
  gpu.poke(pages, countingWords(0, NV12_SIZE / 4))
  assert.equal(gpu.createBoth(1, [pages], SHAREABLE, 'NV12'), R.OK_NODATA)
  assert.equal(gpu.toHost(1, { x: 8, width: 12, height: 1, offset: 400 }), R.OK_NODATA)
  const host = new Uint32Array(gpu.sharing.buffers[0].bytes.buffer)
  assert.deepEqual([...host.subarray(0, 6)], [0, 0, 100, 101, 102, 0])
  assert.equal(gpu.toHost(1, { width: 8, height: 2 }), R.ERR_INVALID_PARAMETER)
})

test('a box outside the blob or the guest pages copies nothing', () => {
  const gpu = new Rig()
  const pages = gpu.page(SIZE)
  gpu.poke(pages, Array(SIZE / 4).fill(9))
  gpu.createBoth(1, [pages])
  const wrong: readonly Box[] = [
    { x: 1 },
    { y: 1 },
    { width: 65 },
    { height: 0 },
    { width: 0 },
    { x: 0xffff_ffff, width: 0xffff_ffff },
    { z: 1 },
    { depth: 0 },
    { depth: 2 },
    { level: 1 },
    { layerStride: 1 },
    { offset: 4 },
    { offset: 0xffff_ffff },
    { stride: 255 },
    { stride: 257 },
    { stride: 0xffff_ffff },
    { height: 1, width: 1, offset: SIZE },
  ]
  for (const box of wrong) {
    for (const type of [T.TRANSFER_TO_HOST_3D, T.TRANSFER_FROM_HOST_3D]) {
      assert.equal(gpu.transfer3d(type, 1, box), R.ERR_INVALID_PARAMETER, JSON.stringify(box))
    }
  }
  assert.ok(gpu.sharing.buffers[0].bytes.every((byte) => byte === 0))
  assert.ok(gpu.words(pages).every((word) => word === 9))
})

test('transfers copy host blobs only; for a guest blob they succeed and copy nothing  @virtio 5.7.6.9', () => {
  const gpu = new Rig()
  gpu.createBlob(1, PAGE, [gpu.page(PAGE)])
  assert.equal(gpu.toHost(1), R.OK_NODATA)
  gpu.create2d(2, 2, 8, 8)
  for (const id of [0, 2, 9]) assert.equal(gpu.fromHost(id), R.ERR_INVALID_RESOURCE_ID)
  const { blobId } = gpu.require(CONTEXT, 64, 64)
  gpu.createHostBlob(CONTEXT, 3, blobId, SIZE)
  assert.equal(gpu.toHost(3), R.ERR_UNSPEC)
  assert.equal(gpu.control(T.TRANSFER_TO_HOST_3D, [0, 0], {}).type, R.ERR_INVALID_PARAMETER)
})
