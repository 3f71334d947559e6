import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R, GpuCommand as T } from './protocol.ts'
import { GpuRig } from './testing/gpu-rig.ts'

const PIXELS = 64 * 64
const WHOLE = { x: 0, y: 0, width: 64, height: 64 }
const MODE = { width: 640, height: 480 }

/** A rig with a cursor's pixels in a 2D resource (1) and in a blob (2). */
function withCursor(words: readonly number[], format = 2): GpuRig {
  const gpu = new GpuRig({ scanouts: [MODE, MODE] })
  const page = gpu.page(PIXELS * 4)
  gpu.poke(page, words)
  gpu.create2d(1, format, 64, 64)
  gpu.attach(1, [page])
  gpu.transfer(1, WHOLE)
  gpu.createBlob(2, PIXELS * 4, [page])
  return gpu
}

const words = (gpu: GpuRig, scanout: number) =>
  new Uint32Array(gpu.display.cursors[scanout]?.data.buffer ?? new ArrayBuffer(0))

test('UPDATE_CURSOR shows and moves the cursor of the scanout it names  @virtio 5.7.6.10', () => {
  const gpu = withCursor(Array(PIXELS).fill(0xff102030))
  for (const id of [1, 2]) {
    assert.equal(gpu.updateCursor(1, id, 100, -3, 5, 6).type, R.OK_NODATA)
    assert.equal(gpu.display.cursors[0], undefined)
    const cursor = gpu.display.cursors[1]
    assert.deepEqual([cursor?.width, cursor?.height, cursor?.hotX, cursor?.hotY], [64, 64, 5, 6])
    assert.ok(words(gpu, 1).every((word) => word === 0xff102030))
    assert.deepEqual(gpu.display.positions[1], { x: 100, y: -3 })
    assert.equal(gpu.updateCursor(1, 0).type, R.OK_NODATA)
  }
  assert.equal(gpu.display.cursors[1], undefined)
})

test('MOVE_CURSOR moves the cursor and ignores all other fields  @virtio 5.7.6.10', () => {
  const gpu = withCursor([])
  assert.equal(gpu.cursor(T.MOVE_CURSOR, [1, 0xffff_fffe, 7, 9, 77, 99, 99, 9]).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.positions[1], { x: -2, y: 7 })
  assert.equal(gpu.display.positions[0], undefined)
  assert.deepEqual(gpu.display.cursors, [])
})

test('a cursor is a copy and stays when its resource is destroyed  @virtio 5.7.6.10', () => {
  const gpu = withCursor(Array(PIXELS).fill(0xff102030))
  gpu.updateCursor(0, 1)
  gpu.unref(1)
  assert.ok(words(gpu, 0).every((word) => word === 0xff102030))
})

test('a cursor must be 64 by 64 pixels  @virtio 5.7.6.6', () => {
  const gpu = withCursor([])
  gpu.create2d(3, 2, 64, 32)
  gpu.createBlob(4, PIXELS * 4 - 1, [gpu.page(PIXELS * 4)])
  assert.equal(gpu.updateCursor(0, 3, 9, 9).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.updateCursor(0, 4, 9, 9).type, R.ERR_INVALID_PARAMETER)
  gpu.detach(2)
  assert.equal(gpu.updateCursor(0, 2, 9, 9).type, R.ERR_INVALID_PARAMETER)
  assert.deepEqual([gpu.display.cursors, gpu.display.positions], [[], []])
})

test('the hot spot is limited to pixels of the cursor', () => {
  const gpu = withCursor([])
  gpu.updateCursor(0, 1, 0, 0, 64, 0xffff_ffff)
  assert.deepEqual([gpu.display.cursors[0]?.hotX, gpu.display.cursors[0]?.hotY], [63, 63])
})

test('a cursor in another format is converted, and keeps its fourth byte as alpha', () => {
  // R8G8B8X8: red is the first byte.
  const gpu = withCursor(Array(PIXELS).fill(0xff302010), 134)
  gpu.updateCursor(0, 1)
  assert.ok(words(gpu, 0).every((word) => word === 0xff102030))
})

test('colours that were multiplied by alpha, as Linux does, are divided by it', () => {
  const gpu = withCursor([0x80402000, 0x00000000, 0xffffffff, 0x01010101])
  gpu.updateCursor(0, 1)
  assert.deepEqual([...words(gpu, 0).subarray(0, 4)], [0x80804000, 0, 0xffffffff, 0x01ffffff])
})

test('a cursor with a colour above its alpha was not multiplied, and is not changed', () => {
  const gpu = withCursor([0x80402000, 0x40ff0000])
  gpu.updateCursor(0, 1)
  assert.deepEqual([...words(gpu, 0).subarray(0, 2)], [0x80402000, 0x40ff0000])
})
