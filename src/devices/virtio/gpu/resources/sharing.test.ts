import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SpanList } from '../../../../memory/span-list.ts'
import { Feature, featureSet } from '../../../../virtio/feature.ts'
import { GpuDevice } from '../gpu.ts'
import { GpuResponse as R } from '../protocol.ts'
import { type Entry, GpuRig } from '../testing/gpu-rig.ts'
import { MemoryBuffer, MemorySharing } from '../testing/memory-sharing.ts'
import { RecordingDisplay } from '../testing/recording-display.ts'

const PAGE = 4096
const WHOLE = { x: 0, y: 0, width: 8, height: 4 }
const [MAPPABLE, SHAREABLE, CROSS_DEVICE, GUEST_HANDLE] = [1, 2, 4, 8]
const TOO_LARGE = { problem: 'too-large', reason: 'it is larger than the host likes' }

function rig(options: ConstructorParameters<typeof GpuRig>[0] = {}) {
  const sharing = new MemorySharing()
  const gpu = new GpuRig({ sharing, ...options })
  return { gpu, sharing, page: gpu.page(PAGE) }
}

function fillPage(gpu: GpuRig, page: Entry, word: number): void {
  gpu.poke(page, Array(PAGE / 4).fill(word))
}

test('a shareable guest blob is exported when it gets pages, any other when it is shown  @virtio 5.7.6.8', () => {
  const { gpu, sharing, page } = rig()
  gpu.createBlob(1, PAGE, [page], 1, MAPPABLE)
  assert.equal(sharing.buffers.length, 0)
  gpu.createBlob(2, PAGE, [page], 1, SHAREABLE)
  gpu.createBlob(3, PAGE, [page], 1, CROSS_DEVICE)
  gpu.createBlob(4, PAGE, [], 1, SHAREABLE)
  assert.deepEqual(sharing.requests, [
    { what: 'resource 2', owner: 'guest', dmaBufOnly: false },
    { what: 'resource 3', owner: 'guest', dmaBufOnly: false },
  ])
  assert.equal(gpu.attach(4, [page]).type, R.OK_NODATA)
  assert.equal(sharing.requests[2].what, 'resource 4')
  gpu.setScanoutBlob(0, 1, WHOLE)
  gpu.setScanoutBlob(0, 1, WHOLE)
  gpu.setScanoutBlob(0, 2, WHOLE)
  assert.deepEqual(
    sharing.requests.map(({ what }) => what),
    ['resource 2', 'resource 3', 'resource 4', 'resource 1'],
  )
})

test('the buffer of a guest blob has its whole pages, and none of the backing past its end', () => {
  const { gpu, sharing } = rig()
  gpu.createBlob(1, PAGE + 1, [gpu.page(4 * PAGE)], 1, SHAREABLE)
  gpu.createBlob(2, 100, [{ ...gpu.page(PAGE), length: 200 }], 1, SHAREABLE)
  assert.deepEqual(
    sharing.buffers.map(({ byteLength }) => byteLength),
    [2 * PAGE, 200],
  )
})

test('a surface has its buffer, the framebuffer layout, and the rectangle that is shown', () => {
  const { gpu, sharing, page } = rig()
  gpu.createBlob(1, PAGE, [page], 1, SHAREABLE)
  gpu.setScanoutBlob(0, 1, { width: 10, height: 10, stride: 64, offset: 128 }, { x: 2, y: 3, width: 4, height: 5 })
  const [first] = gpu.display.surfaces
  const layout = { width: 10, height: 10, fourcc: 0x34325258, modifier: 0n, planes: [{ offset: 128, stride: 64 }] }
  assert.deepEqual([first?.path, first?.reason.includes('dma-buf of memory')], ['dma-buf', true])
  assert.equal(first?.buffer, sharing.buffers[0])
  assert.deepEqual([first?.layout, first?.source], [layout, { x: 2, y: 3, width: 4, height: 5 }])
  assert.deepEqual(sharing.buffers[0].layouts, [layout])
  sharing.kind = 'linear'
  gpu.createBlob(2, PAGE, [page], 1, SHAREABLE)
  gpu.setScanoutBlob(0, 2, WHOLE)
  assert.equal(gpu.display.surfaces[0]?.path, 'linear')
  // The same buffer again is the same object.
  gpu.setScanoutBlob(0, 1, WHOLE)
  assert.equal(gpu.display.surfaces[0]?.buffer, first?.buffer)
})

test('a surface is read from its buffer, between beginRead and endRead', () => {
  const { gpu, sharing } = rig()
  const pages = gpu.page(2 * PAGE)
  fillPage(gpu, { address: pages.address, length: PAGE }, 2)
  fillPage(gpu, { address: pages.address + PAGE, length: PAGE }, 1)
  const entries = [1, 0].map((i) => ({ address: pages.address + i * PAGE, length: PAGE }))
  gpu.createBlob(1, 2 * PAGE, entries, 1, SHAREABLE)
  gpu.setScanoutBlob(0, 1, { width: 1, height: 2, stride: PAGE })
  assert.deepEqual(gpu.display.pixels(0), [1, 2])
  assert.deepEqual([sharing.buffers[0].reads, sharing.buffers[0].reading], [1, 0])
  const spans = new SpanList()
  assert.ok(gpu.display.surfaces[0]?.locate({ x: 0, y: 0, width: 1, height: 2 }, spans))
  assert.deepEqual([...spans.offsets.subarray(0, 2)], [pages.address + PAGE, pages.address])
})

test('creating a shareable blob that cannot be exported fails and leaves nothing', () => {
  const { gpu, sharing, page } = rig()
  sharing.refusal = TOO_LARGE
  for (const flags of [SHAREABLE, CROSS_DEVICE, SHAREABLE | CROSS_DEVICE]) {
    assert.equal(gpu.createBlob(1, PAGE, [page], 1, flags).type, R.ERR_UNSPEC)
  }
  const { count, hostBytes, notShared } = gpu.inspect().resources
  assert.deepEqual({ count, hostBytes, notShared }, { count: 0, hostBytes: 0, notShared: { 'too-large': 3 } })
  assert.equal(gpu.flush(1, WHOLE).type, R.ERR_INVALID_RESOURCE_ID)
  // Its id is free.
  assert.equal(gpu.createBlob(1, PAGE, [page], 1, MAPPABLE).type, R.OK_NODATA)
})

test('pages that cannot be exported are not attached to a shareable blob, and other pages can be', () => {
  const { gpu, sharing, page } = rig()
  gpu.createBlob(1, PAGE, [], 1, SHAREABLE)
  const before = gpu.inspect().resources.hostBytes
  sharing.refusal = TOO_LARGE
  assert.equal(gpu.attach(1, [page]).type, R.ERR_UNSPEC)
  assert.equal(gpu.inspect().resources.hostBytes, before)
  assert.equal(gpu.detach(1).type, R.ERR_UNSPEC, 'there is nothing to detach')
  sharing.refusal = undefined
  assert.equal(gpu.attach(1, [page]).type, R.OK_NODATA)
  assert.equal(sharing.open.length, 1)
})

test('a blob that cannot be exported is shown all the same, with the reason, and tried only once', () => {
  const { gpu, sharing, page } = rig()
  fillPage(gpu, page, 7)
  sharing.refusal = TOO_LARGE
  gpu.createBlob(1, PAGE, [page])
  for (let i = 0; i < 3; i++) assert.equal(gpu.setScanoutBlob(0, 1, WHOLE).type, R.OK_NODATA)
  const [surface] = gpu.display.surfaces
  assert.deepEqual([surface?.path, surface?.buffer], ['scatter', undefined])
  assert.match(surface?.reason ?? '', /; it is larger than the host likes$/)
  assert.deepEqual(gpu.display.pixels(0, { x: 7, y: 3, width: 1, height: 1 }), [7])
  assert.deepEqual(gpu.inspect().resources.notShared, { 'too-large': 1 })
  assert.equal(sharing.requests.length, 1)
})

test('without BufferSharing the flags are accepted, and nothing is exported', () => {
  const gpu = new GpuRig()
  const page = gpu.page(PAGE)
  assert.equal(gpu.createBlob(1, PAGE, [page], 1, SHAREABLE | CROSS_DEVICE).type, R.OK_NODATA)
  gpu.setScanoutBlob(0, 1, WHOLE)
  const [surface] = gpu.display.surfaces
  assert.deepEqual([surface?.path, surface?.buffer], ['scatter', undefined])
  assert.equal(gpu.control(0x010b, [1, 0]).type, R.OK_RESOURCE_UUID)
})

test('the copy of a 2D resource is in exported memory, if there is any', () => {
  const { gpu, sharing, page } = rig()
  fillPage(gpu, page, 0x10203)
  gpu.create2d(1, 2, 8, 4)
  gpu.attach(1, [page])
  gpu.setScanout(0, 1, WHOLE)
  gpu.transfer(1, WHOLE)
  const [surface] = gpu.display.surfaces
  assert.deepEqual([surface?.path, surface?.buffer], ['copy', sharing.buffers[0]])
  assert.equal(new Uint32Array(sharing.buffers[0].bytes.buffer)[31], 0x10203)
  assert.deepEqual(gpu.display.pixels(0), Array(32).fill(0x10203))
  // Consumers use the copy, not the pages.
  assert.equal(gpu.detach(1).type, R.OK_NODATA)
  assert.deepEqual(sharing.open, sharing.buffers)
  assert.equal(gpu.unref(1).type, R.OK_NODATA)
  assert.equal(sharing.buffers[0].closed, 1)
  sharing.refusal = TOO_LARGE
  assert.equal(gpu.create2d(1, 2, 8, 4).type, R.OK_NODATA)
  gpu.setScanout(0, 1, WHOLE)
  assert.match(gpu.display.surfaces[0]?.reason ?? '', /; it is larger than the host likes$/)
  assert.equal(gpu.display.surfaces[0]?.buffer, undefined)
})

test('a 2D resource that is refused allocates no host memory', () => {
  const { gpu, sharing } = rig({ maxHostBytes: 8192 })
  assert.equal(gpu.create2d(1, 2, 64, 64).type, R.ERR_OUT_OF_MEMORY)
  gpu.create2d(1, 2, 8, 8)
  assert.equal(gpu.create2d(1, 2, 8, 8).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(sharing.buffers.length, 1)
})

test('detaching the pages of a shown blob closes its buffer and leaves black; new pages are a new buffer', () => {
  const { gpu, sharing, page } = rig()
  const other = gpu.page(PAGE)
  fillPage(gpu, page, 1)
  fillPage(gpu, other, 2)
  gpu.createBlob(1, PAGE, [page])
  gpu.setScanoutBlob(0, 1, WHOLE)
  const [before] = gpu.display.surfaces
  assert.equal(gpu.detach(1).type, R.OK_NODATA)
  assert.equal(sharing.buffers[0].closed, 1)
  assert.deepEqual([before?.buffer, before?.path], [undefined, 'scatter'])
  assert.match(before?.reason ?? '', /without pages/)
  assert.deepEqual(gpu.display.pixels(0, { ...WHOLE, width: 1, height: 1 }), [0])
  assert.equal(gpu.attach(1, [other]).type, R.OK_NODATA)
  const [after] = gpu.display.surfaces
  assert.notEqual(after, before, 'the display receives a new surface')
  assert.equal(after?.buffer, sharing.buffers[1])
  assert.deepEqual(sharing.buffers[1].layouts, [after?.layout])
  assert.deepEqual(gpu.display.pixels(0, { ...WHOLE, width: 1, height: 1 }), [2])
  assert.equal(gpu.attach(1, [page]).type, R.ERR_UNSPEC, 'it has pages')
  assert.deepEqual([sharing.buffers.length, sharing.buffers[1].closed], [2, 0])
})

test('destroying a shown resource disables the scanout first and then closes the buffer', () => {
  const { gpu, sharing, page } = rig()
  fillPage(gpu, page, 3)
  gpu.createBlob(1, PAGE, [page], 1, SHAREABLE)
  gpu.setScanoutBlob(0, 1, WHOLE)
  const [kept] = gpu.display.surfaces
  const [buffer] = sharing.buffers
  gpu.display.scanout = (index, surface) => {
    assert.equal(buffer.closed, 0)
    gpu.display.surfaces[index] = surface
  }
  assert.equal(gpu.unref(1).type, R.OK_NODATA)
  assert.deepEqual([gpu.display.surfaces[0], buffer.closed, kept?.buffer], [undefined, 1, undefined])
  const pixels = new Uint8Array(128).fill(9)
  assert.equal(kept?.read(WHOLE, pixels, 0, 32), 0)
  assert.ok(pixels.every((byte) => byte === 0))
  assert.equal(gpu.unref(1).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(buffer.closed, 1)
})

test('a flush of a resource without scanout is reported to its buffer  @virtio 5.7.6.8', () => {
  const { gpu, sharing, page } = rig()
  gpu.createBlob(1, PAGE, [page], 1, SHAREABLE)
  gpu.flush(1, { x: 1, y: 2, width: 3, height: 4 })
  gpu.flush(1, { x: 5, y: 6, width: 7, height: 8 })
  const [buffer] = sharing.buffers
  const damage = [
    { x: 1, y: 2, width: 3, height: 4 },
    { x: 5, y: 6, width: 7, height: 8 },
  ]
  assert.deepEqual(buffer.presented, damage)
  gpu.setScanoutBlob(0, 1, WHOLE)
  gpu.flush(1, WHOLE)
  assert.deepEqual([buffer.presented, gpu.display.damages], [damage, [{ index: 0, ...WHOLE }]])
})

test('a buffer has the UUID of its resource, whichever came first, and a UUID needs a buffer  @virtio 5.7.6.8', () => {
  const { gpu, sharing, page } = rig()
  const assign = (id: number) => gpu.control(0x010b, [id, 0])
  gpu.createBlob(1, PAGE, [page], 1, SHAREABLE)
  assert.deepEqual(assign(1).payload, sharing.buffers[0].uuid)
  // This one was not exported before.
  gpu.createBlob(2, PAGE, [page])
  assert.deepEqual(assign(2).payload, sharing.buffers[1].uuid)
  // This one has no pages yet.
  gpu.createBlob(3, PAGE, [])
  const { payload } = assign(3)
  gpu.attach(3, [page])
  assert.deepEqual(sharing.buffers[2].uuid, payload)
  sharing.refusal = TOO_LARGE
  gpu.detach(3)
  assert.equal(gpu.attach(3, [page]).type, R.ERR_UNSPEC)
  gpu.createBlob(4, PAGE, [page])
  gpu.create2d(5, 2, 8, 4)
  for (const id of [4, 5]) assert.equal(assign(id).type, R.ERR_UNSPEC)
})

test('guestHandleFeature must be a free device feature bit, and is off by default', () => {
  const display = new RecordingDisplay()
  const sharing = new MemorySharing()
  const own = (guestHandleFeature: number, rest = {}) =>
    new GpuDevice(display, { sharing, guestHandleFeature, ...rest })
  for (const bit of [0, 1, 2, 3, 4, 5, -1, 24, 32, 49, 128, 6.5, Number.NaN]) {
    assert.throws(() => own(bit), RangeError, `${bit}`)
  }
  const usual = new GpuDevice(display, { sharing }).features
  for (const bit of [6, 23, 50, 127]) assert.equal(own(bit).features, usual | (1n << BigInt(bit)))
  assert.equal(new GpuDevice(display, { guestHandleFeature: 6 }).features, usual, 'there is no BufferSharing')
  assert.equal(own(6, { blob: false }).features, usual & ~(1n << 3n), 'there are no blobs')
  assert.equal(own(6).featureNames['CREATE_GUEST_HANDLE'], 6)
  assert.ok(own(6).featureDependencies.some(([bit, needs]) => bit === 6 && needs === 3))
})

test('CREATE_GUEST_HANDLE exports a dma-buf or fails, and is an unknown flag without its feature', () => {
  const sharing = new MemorySharing()
  const gpu = new GpuRig({ sharing, guestHandleFeature: 6 })
  const page = gpu.page(PAGE)
  assert.equal(gpu.createBlob(1, PAGE, [page], 1, GUEST_HANDLE).type, R.OK_NODATA)
  assert.deepEqual(sharing.requests, [{ what: 'resource 1', owner: 'guest', dmaBufOnly: true }])
  sharing.kind = 'linear'
  assert.equal(gpu.createBlob(2, PAGE, [page], 1, GUEST_HANDLE | SHAREABLE).type, R.ERR_UNSPEC)
  assert.equal(gpu.createBlob(2, PAGE, [page], 1, SHAREABLE).type, R.OK_NODATA)
  assert.equal(gpu.createBlob(3, PAGE, [page], 1, GUEST_HANDLE << 1).type, R.ERR_INVALID_PARAMETER)
  for (const mem of [2, 3]) {
    assert.equal(gpu.createBlob(3, PAGE, [], mem, GUEST_HANDLE).type, R.ERR_INVALID_PARAMETER)
  }
  const features = gpu.device.features & ~featureSet(6)
  const without = new GpuRig(
    { sharing, guestHandleFeature: 6 },
    { features: features | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC) },
  )
  for (const refused of [without, new GpuRig({ sharing })]) {
    const { type } = refused.createBlob(1, PAGE, [refused.page(PAGE)], 1, GUEST_HANDLE)
    assert.equal(type, R.ERR_INVALID_PARAMETER)
  }
})

test('a reset closes every buffer once, shown or not  @virtio 2.4', async () => {
  const { gpu, sharing, page } = rig()
  gpu.createBlob(1, PAGE, [page], 1, SHAREABLE)
  gpu.createBlob(2, PAGE, [page], 1, SHAREABLE)
  gpu.create2d(3, 2, 8, 4)
  gpu.setScanoutBlob(0, 1, WHOLE)
  const [kept] = gpu.display.surfaces
  await gpu.driver.reset()
  assert.deepEqual(
    sharing.buffers.map(({ closed }) => closed),
    [1, 1, 1],
  )
  assert.equal(kept?.buffer, undefined)
  assert.equal(kept?.read(WHOLE, new Uint8Array(128), 0, 32), 0)
})

test('the inspector shows path and copied bytes of each scanout, and all resources by path', () => {
  const { gpu, sharing, page } = rig({ scanouts: [WHOLE, WHOLE, WHOLE] })
  gpu.createBlob(1, PAGE, [page], 1, SHAREABLE)
  sharing.kind = 'linear'
  gpu.create2d(2, 2, 8, 4)
  gpu.attach(2, [page])
  sharing.refusal = TOO_LARGE
  gpu.createBlob(3, 2 * PAGE, [gpu.page(2 * PAGE)])
  gpu.setScanoutBlob(0, 1, WHOLE)
  gpu.setScanout(1, 2, WHOLE)
  gpu.setScanoutBlob(2, 3, WHOLE)
  gpu.transfer(2, WHOLE)
  gpu.transfer(2, { ...WHOLE, height: 1 })
  for (const id of [1, 2, 3]) gpu.flush(id, WHOLE)
  gpu.display.pixels(1, { ...WHOLE, height: 2 })
  const { scanouts, resources } = gpu.inspect()
  assert.deepEqual(
    scanouts.map(({ path, kind, bytesCopied }) => [path, kind, bytesCopied]),
    [
      ['dma-buf', 'dma-buf', 0],
      ['copy', 'linear', 128 + 32 + 64],
      ['scatter', null, 0],
    ],
  )
  assert.deepEqual(resources.paths, {
    'dma-buf': { count: 1, bytes: PAGE },
    copy: { count: 1, bytes: 128 },
    scatter: { count: 1, bytes: 2 * PAGE },
  })
  assert.deepEqual(resources.notShared, { 'too-large': 1 })
  gpu.flush(2, WHOLE)
  assert.equal(gpu.inspect().scanouts[1].bytesCopied, 0)
  assert.deepEqual(JSON.parse(JSON.stringify(gpu.inspect())), gpu.inspect())
})

test('a 2D resource whose memory cannot be mapped fails and closes its buffer', () => {
  const sharing = new MemorySharing()
  sharing.allocate = (byteLength, what) => {
    const fails = (): never => {
      throw new RangeError('Array buffer allocation failed')
    }
    const buffer = new MemoryBuffer(what, 'linear', byteLength, fails)
    sharing.buffers.push(buffer)
    return buffer
  }
  const gpu = new GpuRig({ sharing })
  assert.equal(gpu.create2d(1, 2, 64, 64).type, R.ERR_OUT_OF_MEMORY)
  assert.deepEqual([sharing.buffers.length, sharing.open], [1, []])
})
