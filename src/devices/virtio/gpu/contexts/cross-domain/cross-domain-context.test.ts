import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R, GpuCommand as T } from '../../protocol.ts'
import { ContextRig, command, fourcc, GET_IMAGE_REQUIREMENTS, INIT } from '../../testing/context-rig.ts'

const CONTEXT = 7
const RING = 100

function opened(options?: ConstructorParameters<typeof ContextRig>[0]): ContextRig {
  const gpu = new ContextRig({ heapSize: 64 << 20, ...options })
  gpu.open(CONTEXT, RING)
  return gpu
}

test('the capability set states version 1, no channels, no dma-bufs, and external GPU memory', () => {
  const gpu = new ContextRig()
  const info = gpu.control(T.GET_CAPSET_INFO, [0, 0])
  assert.deepEqual([...new Uint32Array(info.payload.slice().buffer)], [5, 0, 16, 0])
  const { payload } = gpu.control(T.GET_CAPSET, [5, 0])
  assert.deepEqual([...new Uint32Array(payload.slice().buffer)], [1, 0, 0, 1])
})

test('GET_IMAGE_REQUIREMENTS writes the requirements to the query ring', () => {
  const gpu = opened()
  assert.equal(gpu.query(CONTEXT, 1920, 1080).type, R.OK_NODATA)
  assert.deepEqual(gpu.ring(), {
    strides: [7680, 0, 0, 0],
    offsets: [0, 0, 0, 0],
    modifier: [0, 0],
    size: [8_294_400, 0],
    blobId: 1,
    mapInfo: 1,
    indices: [0xffff_ffff, 0xffff_ffff],
  })
})

test('strides are multiples of 256 bytes, and sizes are whole pages', () => {
  const gpu = opened()
  const { strides, size } = gpu.require(CONTEXT, 65, 3)
  assert.deepEqual([strides[0], size[0]], [512, 4096])
  assert.deepEqual(gpu.require(CONTEXT, 1, 1).size, [4096, 0])
})

test('the requirements contain stride and offset of every plane', () => {
  const gpu = opened()
  for (const [format, strides, offsets, size] of [
    ['R8  ', [256], [0], 25_600],
    ['GR88', [512], [0], 51_200],
    ['RG16', [512], [0], 51_200],
    ['BG24', [768], [0], 76_800],
    ['AB24', [1024], [0], 102_400],
    ['AB4H', [1792], [0], 179_200],
    ['NV12', [256, 256], [0, 25_600], 38_400],
    ['P010', [512, 512], [0, 51_200], 76_800],
    ['YV12', [256, 256, 256], [0, 25_600, 38_400], 51_200],
  ] as const) {
    const requirements = gpu.require(CONTEXT, 203, 100, format)
    const filled = (values: readonly number[]) => [...values, 0, 0, 0].slice(0, 4)
    assert.deepEqual(requirements.strides, filled(strides), format)
    assert.deepEqual(requirements.offsets, filled(offsets), format)
    assert.equal(requirements.size[0], Math.ceil(size / 4096) * 4096, format)
  }
})

test('equal queries return the same blob id, from which any number of blobs are created', () => {
  const gpu = opened()
  const first = gpu.require(CONTEXT, 64, 64)
  const other = gpu.require(CONTEXT, 64, 64, 'AB24')
  assert.notEqual(first.blobId, other.blobId)
  assert.deepEqual(gpu.require(CONTEXT, 64, 64), first)
  for (const id of [1, 2, 3]) {
    assert.equal(gpu.createHostBlob(CONTEXT, id, first.blobId, first.size[0]).type, R.OK_NODATA)
  }
})

test('a query that fails returns an error and clears an older answer in the ring', () => {
  const gpu = opened({ heapSize: 1 << 20 })
  for (const [width, height, format, error] of [
    [0, 64, 'XR24', R.ERR_INVALID_PARAMETER],
    [64, 0, 'XR24', R.ERR_INVALID_PARAMETER],
    [64, 64, 'ABCD', R.ERR_INVALID_PARAMETER],
    [1024, 257, 'XR24', R.ERR_OUT_OF_MEMORY],
    [0xffff_ffff, 0xffff_ffff, 'AB4H', R.ERR_OUT_OF_MEMORY],
    [0xffff_ffff, 1, 'NV12', R.ERR_OUT_OF_MEMORY],
  ] as const) {
    assert.ok(gpu.require(CONTEXT, 64, 64).blobId > 0)
    assert.equal(gpu.query(CONTEXT, width, height, format).type, error, `${width} by ${height} ${format}`)
    assert.deepEqual([gpu.ring().blobId, gpu.ring().size], [0, [0, 0]])
  }
})

test('a context remembers at most 512 different images', () => {
  const gpu = opened()
  let width = 1
  while (gpu.query(CONTEXT, width, 1).type === R.OK_NODATA) width++
  assert.equal(width, 513)
  assert.equal(gpu.query(CONTEXT, width, 1).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.require(CONTEXT, 1, 1).blobId, 1)
})

test('the legacy form of INIT, without a channel ring, is accepted', () => {
  const gpu = opened()
  assert.equal(gpu.submit(CONTEXT, command(INIT, [RING, 0])).type, R.OK_NODATA)
  assert.equal(gpu.submit(CONTEXT, command(INIT, [RING, 0, 0, 1])).type, R.OK_NODATA)
  assert.equal(gpu.submit(CONTEXT, command(INIT, [RING])).type, R.ERR_INVALID_PARAMETER)
})

test('channels, and commands for channels, are refused', () => {
  const gpu = opened()
  assert.equal(gpu.submit(CONTEXT, command(INIT, [RING, RING, 1])).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.submit(CONTEXT, command(INIT, [RING, 1])).type, R.ERR_INVALID_PARAMETER)
  for (const type of [0, 3, 4, 5, 6, 7, 8, 255]) {
    assert.equal(gpu.submit(CONTEXT, command(type, [0, 0])).type, R.ERR_UNSPEC, `command ${type}`)
  }
})

test('the query ring must be attached to the context and have enough pages', () => {
  const gpu = opened()
  const init = (id: number) => gpu.submit(CONTEXT, command(INIT, [id, 0, 0])).type
  gpu.createBlob(1, 4096, [gpu.page(4096)])
  assert.equal(init(1), R.ERR_INVALID_RESOURCE_ID)
  gpu.attachResource(CONTEXT, 1)
  assert.equal(init(1), R.OK_NODATA)
  gpu.createBlob(2, 4096, [])
  gpu.createBlob(3, 60, [gpu.page(60)])
  for (const id of [2, 3]) {
    gpu.attachResource(CONTEXT, id)
    assert.equal(init(id), R.ERR_INVALID_PARAMETER)
  }
  for (const id of [0, 9, 0xffff_ffff]) assert.equal(init(id), R.ERR_INVALID_RESOURCE_ID)
})

test('a query without a ring, or whose ring lost its pages, fails', () => {
  const gpu = opened()
  gpu.detach(RING)
  assert.equal(gpu.query(CONTEXT, 64, 64).type, R.ERR_INVALID_RESOURCE_ID)
  gpu.attach(RING, [gpu.page(32)])
  assert.equal(gpu.query(CONTEXT, 64, 64).type, R.ERR_INVALID_RESOURCE_ID)
  gpu.unref(RING)
  assert.equal(gpu.query(CONTEXT, 64, 64).type, R.ERR_INVALID_RESOURCE_ID)
  const other = new ContextRig()
  other.createContext(CONTEXT)
  assert.equal(other.query(CONTEXT, 64, 64).type, R.ERR_INVALID_RESOURCE_ID)
})

test('an answer spans ring pages that are not adjacent', () => {
  const gpu = opened()
  const [first, second] = [gpu.page(64), gpu.page(64)]
  gpu.createBlob(1, 64, [
    { address: first.address, length: 20 },
    { address: second.address, length: 44 },
  ])
  gpu.attachResource(CONTEXT, 1)
  gpu.submit(CONTEXT, command(INIT, [1, 0, 0]))
  assert.equal(gpu.query(CONTEXT, 64, 64).type, R.OK_NODATA)
  const peek = (address: number, at: number) =>
    new DataView(gpu.driver.rigs[0].peek(address, 64).slice().buffer).getUint32(at, true)
  assert.equal(peek(first.address, 0), 256)
  assert.equal(peek(second.address, 40 - 20), 16_384)
  assert.equal(peek(first.address, 20), 0)
})

test('the commands of a submission are executed in order, up to the first that fails', () => {
  const gpu = opened()
  const ask = (width: number) => command(GET_IMAGE_REQUIREMENTS, [width, 1, fourcc('XR24'), 0])
  assert.equal(gpu.submit(CONTEXT, [...ask(1), ...ask(2)]).type, R.OK_NODATA)
  assert.equal(gpu.ring().blobId, 2)
  assert.equal(gpu.submit(CONTEXT, [...ask(3), ...command(4, []), ...ask(4)]).type, R.ERR_UNSPEC)
  assert.equal(gpu.ring().blobId, 3)
  assert.equal(gpu.submit(CONTEXT, []).type, R.OK_NODATA)
})

test('a command with an invalid size ends the submission', () => {
  const gpu = opened()
  for (const header of [0, 1, 4 << 16, 7 << 16, 10 << 16, 12 << 16, 0xffff << 16]) {
    assert.equal(gpu.submit(CONTEXT, [header | 2, 0]).type, R.ERR_INVALID_PARAMETER, header.toString(16))
  }
  assert.equal(gpu.submit(CONTEXT, [2]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.submit(CONTEXT, command(GET_IMAGE_REQUIREMENTS, [1, 1])).type, R.ERR_INVALID_PARAMETER)
  const odd = gpu.control(T.SUBMIT_3D, [6, 0, 2, 0], { context: CONTEXT })
  assert.equal(odd.type, R.ERR_INVALID_PARAMETER)
})

test('a submission above the limit is refused, and none of its commands is executed', () => {
  const gpu = opened()
  const ask = command(GET_IMAGE_REQUIREMENTS, [64, 64, fourcc('XR24'), 0])
  const most = (64 << 10) / (4 * ask.length)
  const asks = (count: number) => Array.from({ length: count }, () => ask).flat()
  assert.equal(gpu.submit(CONTEXT, asks(Math.ceil(most))).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.ring().blobId, 0)
  assert.equal(gpu.submit(CONTEXT, asks(Math.floor(most))).type, R.OK_NODATA)
  assert.equal(gpu.ring().blobId, 1)
})

test('the fence of a query is reached when the answer is in the ring', () => {
  const gpu = opened()
  const words = command(GET_IMAGE_REQUIREMENTS, [64, 64, fourcc('XR24'), 0])
  const reply = gpu.submit(CONTEXT, words, { flags: 3, fenceLow: 5, ring: 0 })
  assert.deepEqual([reply.type, reply.flags, reply.fenceLow, reply.context], [R.OK_NODATA, 3, 5, CONTEXT])
  assert.equal(gpu.ring().blobId, 1)
})
