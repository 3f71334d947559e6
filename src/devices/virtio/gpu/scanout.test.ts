import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R } from './protocol.ts'
import { GpuRig } from './testing/gpu-rig.ts'

const WIDTH = 8
const HEIGHT = 6
const WHOLE = { x: 0, y: 0, width: WIDTH, height: HEIGHT }
const MODE = { width: 640, height: 480 }

/** A rig with three scanouts, and an image whose pixels all differ, in a 2D resource (1) and in a blob (2). */
function drawn(): { gpu: GpuRig; words: number[] } {
  const gpu = new GpuRig({ scanouts: [MODE, MODE, MODE] })
  const words = Array.from({ length: WIDTH * HEIGHT }, (_, i) => 0x01020300 + i)
  // Entries of 13 bytes, so that pixels span two of them.
  const { address } = gpu.page(4096)
  const page = { address, length: words.length * 4 }
  gpu.poke(page, words)
  const entries = Array.from({ length: Math.ceil(page.length / 13) }, (_, i) => ({
    address: address + i * 13,
    length: Math.min(13, page.length - i * 13),
  }))
  gpu.create2d(1, 2, WIDTH, HEIGHT)
  gpu.attach(1, entries)
  gpu.transfer(1, WHOLE)
  gpu.createBlob(2, page.length, entries)
  return { gpu, words }
}

/** Part of the image within a rectangle. */
function cut(words: readonly number[], x: number, y: number, width: number, height: number): number[] {
  return Array.from({ length: height }, (_, row) =>
    words.slice((y + row) * WIDTH + x, (y + row) * WIDTH + x + width),
  ).flat()
}

test('a scanout shows a rectangle of a 2D resource, read from the host copy  @virtio 5.7.6.8', () => {
  const { gpu, words } = drawn()
  assert.equal(gpu.setScanout(1, 1, { x: 2, y: 1, width: 5, height: 4 }).type, R.OK_NODATA)
  const surface = gpu.display.surfaces[1]
  assert.deepEqual([surface?.width, surface?.height, surface?.path], [5, 4, 'copy'])
  assert.deepEqual(gpu.display.pixels(1), cut(words, 2, 1, 5, 4))
  assert.deepEqual(gpu.display.pixels(1, { x: 1, y: 2, width: 3, height: 2 }), cut(words, 3, 3, 3, 2))
  assert.equal(gpu.display.surfaces[0], undefined)
})

test('a scanout shows a rectangle of a guest blob, read from its pages  @virtio 5.7.6.8', () => {
  const { gpu, words } = drawn()
  const image = { width: 6, height: 5, stride: WIDTH * 4, offset: (WIDTH + 1) * 4 }
  assert.equal(gpu.setScanoutBlob(0, 2, image, { x: 1, y: 1, width: 4, height: 3 }).type, R.OK_NODATA)
  assert.equal(gpu.display.surfaces[0]?.path, 'scatter')
  assert.deepEqual(gpu.display.pixels(0), cut(words, 2, 2, 4, 3))
  assert.deepEqual(gpu.display.pixels(0, { x: 3, y: 1, width: 1, height: 2 }), cut(words, 5, 3, 1, 2))
})

test('reading a surface of a blob returns its current bytes, without a transfer', () => {
  const gpu = new GpuRig()
  const page = gpu.page(64)
  gpu.createBlob(1, 64, [page])
  gpu.setScanoutBlob(0, 1, { width: 4, height: 4 })
  gpu.poke(page, Array(16).fill(0x42))
  assert.deepEqual(gpu.display.pixels(0), Array(16).fill(0x42))
})

test('the rectangle of a scanout must lie within its resource  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  for (const [x, y, width, height] of [
    [0, 0, WIDTH + 1, HEIGHT],
    [0, 0, WIDTH, HEIGHT + 1],
    [1, 0, WIDTH, HEIGHT],
    [0xffff_ffff, 0, 2, 1],
    [0, 0, 0xffff_ffff, 0xffff_ffff],
    [0, 0, 0, HEIGHT],
    [0, 0, WIDTH, 0],
  ]) {
    const rect = { x, y, width, height }
    assert.equal(gpu.setScanout(0, 1, rect).type, R.ERR_INVALID_PARAMETER, JSON.stringify(rect))
    const image = { width: WIDTH, height: HEIGHT }
    assert.equal(gpu.setScanoutBlob(0, 2, image, rect).type, R.ERR_INVALID_PARAMETER, JSON.stringify(rect))
  }
  assert.deepEqual(gpu.display.surfaces, [])
})

test('the framebuffer layout of SET_SCANOUT_BLOB must fit in the blob  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  const image = { width: WIDTH, height: HEIGHT }
  for (const wrong of [
    { ...image, format: 5 },
    { ...image, stride: WIDTH * 4 - 1 },
    { ...image, stride: 0 },
    { ...image, stride: WIDTH * 4 + 1 },
    { ...image, offset: 1 },
    { ...image, offset: 0xffff_ffff },
    { ...image, height: HEIGHT + 1 },
    { width: 0, height: HEIGHT },
    { width: WIDTH, height: 0 },
    { width: 0xffff_ffff, height: 0xffff_ffff, stride: 0xffff_ffff },
  ]) {
    const reply = gpu.setScanoutBlob(0, 2, wrong, { x: 0, y: 0, width: 1, height: 1 })
    assert.equal(reply.type, R.ERR_INVALID_PARAMETER, JSON.stringify(wrong))
  }
  // The last row need not be a whole stride.
  const tight = { width: 4, height: 5, stride: WIDTH * 4 + 7, offset: 20 }
  assert.equal(gpu.setScanoutBlob(0, 2, tight).type, R.OK_NODATA)
})

test('SET_SCANOUT shows only 2D resources, SET_SCANOUT_BLOB only blobs  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  assert.equal(gpu.setScanout(0, 2, WHOLE).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.setScanoutBlob(0, 1, WHOLE).type, R.ERR_INVALID_RESOURCE_ID)
})

test('a scanout id out of range gets ERR_INVALID_SCANOUT_ID  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  for (const scanout of [3, 16, 0xffff_ffff]) {
    assert.equal(gpu.setScanout(scanout, 1, WHOLE).type, R.ERR_INVALID_SCANOUT_ID)
    assert.equal(gpu.setScanout(scanout, 0, WHOLE).type, R.ERR_INVALID_SCANOUT_ID)
    assert.equal(gpu.setScanoutBlob(scanout, 2, WHOLE).type, R.ERR_INVALID_SCANOUT_ID)
    assert.equal(gpu.updateCursor(scanout, 0).type, R.ERR_INVALID_SCANOUT_ID)
    assert.equal(gpu.moveCursor(scanout, 0, 0).type, R.ERR_INVALID_SCANOUT_ID)
  }
})

test('the size of a surface is bounded, because viewers may keep a copy of it', () => {
  const gpu = new GpuRig({ maxHostBytes: 1 << 20 }, { memorySize: 32 << 20 })
  gpu.createBlob(1, 4 << 20, [gpu.page(4 << 20)])
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 1024, height: 1024 }).type, R.ERR_OUT_OF_MEMORY)
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 16385, height: 1 }).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 512, height: 512 }).type, R.OK_NODATA)
})

test('a blob without pages cannot be scanned out', () => {
  const gpu = new GpuRig()
  gpu.createBlob(1, 64, [])
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 4, height: 4 }).type, R.ERR_UNSPEC)
})

test('resource 0 disables a scanout  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  gpu.setScanout(0, 1, WHOLE)
  assert.equal(gpu.setScanout(0, 0, { x: 0, y: 0, width: 0, height: 0 }).type, R.OK_NODATA)
  assert.equal(gpu.display.surfaces[0], undefined)
  gpu.setScanoutBlob(0, 2, WHOLE)
  assert.ok(gpu.display.surfaces[0])
  assert.equal(gpu.setScanoutBlob(0, 0, WHOLE).type, R.OK_NODATA)
  assert.equal(gpu.display.surfaces[0], undefined)
})

test('a flush is reported to each scanout of the resource, clipped and in its coordinates  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  gpu.setScanout(0, 1, WHOLE)
  gpu.setScanout(1, 1, { x: 3, y: 2, width: 4, height: 3 })
  gpu.setScanoutBlob(2, 2, WHOLE)
  assert.equal(gpu.flush(1, { x: 1, y: 1, width: 4, height: 2 }).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.damages.splice(0), [
    { index: 0, x: 1, y: 1, width: 4, height: 2 },
    { index: 1, x: 0, y: 0, width: 2, height: 1 },
  ])
  gpu.flush(1, { x: 0, y: 0, width: 3, height: HEIGHT })
  assert.deepEqual(gpu.display.damages.splice(0), [{ index: 0, x: 0, y: 0, width: 3, height: HEIGHT }])
  gpu.flush(2, { x: 5, y: 5, width: 100, height: 100 })
  assert.deepEqual(gpu.display.damages.splice(0), [{ index: 2, x: 5, y: 5, width: 3, height: 1 }])
})

test('a flush of a resource without scanout, or out of bounds, reports no damage  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  assert.equal(gpu.flush(1, WHOLE).type, R.OK_NODATA)
  gpu.setScanout(0, 1, WHOLE)
  gpu.setScanoutBlob(1, 2, WHOLE)
  for (const [x, y, width, height] of [
    [0, 0, WIDTH + 1, 1],
    [WIDTH, 0, 1, 1],
    [0xffff_ffff, 0xffff_ffff, 2, 2],
    [0, 0, 0, 1],
  ]) {
    assert.equal(gpu.flush(1, { x, y, width, height }).type, R.ERR_INVALID_PARAMETER)
  }
  assert.equal(gpu.flush(2, { x: 0xffff_ffff, y: 0, width: 2, height: 1 }).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.flush(2, { x: WIDTH, y: 0, width: 2, height: 1 }).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.damages, [])
})

test('destroying a resource disables its scanouts  @virtio 5.7.6.8', () => {
  const { gpu } = drawn()
  gpu.setScanout(0, 1, WHOLE)
  gpu.setScanoutBlob(1, 2, WHOLE)
  const kept = gpu.display.surfaces[1]
  gpu.unref(2)
  assert.equal(gpu.display.surfaces[1], undefined)
  assert.ok(gpu.display.surfaces[0])
  assert.equal(kept?.read(WHOLE, new Uint8Array(4 * WIDTH * HEIGHT), 0, 4 * WIDTH), 0)
  gpu.unref(1)
  assert.equal(gpu.display.surfaces[0], undefined)
})

test('a shown blob whose pages are detached is black until others are attached  @virtio 5.7.6.8', () => {
  const { gpu, words } = drawn()
  gpu.setScanoutBlob(0, 2, WHOLE)
  assert.deepEqual(gpu.display.pixels(0), words)
  assert.equal(gpu.detach(2).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.pixels(0), Array(WIDTH * HEIGHT).fill(0))
  assert.equal(gpu.flush(2, WHOLE).type, R.OK_NODATA)
  const page = gpu.page(4 * WIDTH * HEIGHT)
  gpu.poke(page, Array(WIDTH * HEIGHT).fill(0x77))
  assert.equal(gpu.attach(2, [page]).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.pixels(0), Array(WIDTH * HEIGHT).fill(0x77))
})

test('bytesRead counts all surfaces of a scanout', () => {
  const { gpu } = drawn()
  gpu.setScanout(0, 1, WHOLE)
  gpu.display.pixels(0)
  gpu.setScanoutBlob(0, 2, WHOLE)
  gpu.display.pixels(0, { x: 0, y: 0, width: 1, height: 1 })
  const [scanout] = gpu.inspect().scanouts
  assert.equal(scanout.bytesRead, 4 * WIDTH * HEIGHT + 4)
})
