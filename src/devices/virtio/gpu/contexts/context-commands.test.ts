import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from '../../../../virtio/feature.ts'
import { regionBytes } from '../../../../virtio/shared-memory.ts'
import { GpuDevice } from '../gpu.ts'
import { GpuFeature, GpuResponse as R, GpuCommand as T } from '../protocol.ts'
import { ContextRig, CROSS_DOMAIN } from '../testing/context-rig.ts'
import { RecordingDisplay } from '../testing/recording-display.ts'
import { SlowRenderer } from '../testing/slow-renderer.ts'

const VENUS = 4

test('VIRGL, CONTEXT_INIT and BLOB_ALIGNMENT are offered with a heap  @virtio 5.7.3', () => {
  const { device } = new ContextRig()
  assert.equal(device.features, 0b11_1111n)
  assert.equal(device.config.read(12, 4), 1)
  assert.equal(device.config.read(16, 4), 4096)
  assert.deepEqual(
    device.sharedMemory.map((region) => [region.id, regionBytes(region)]),
    [[1, 1 << 20]],
  )
  const renderers = [new SlowRenderer()]
  const without = new GpuDevice(new RecordingDisplay(), { renderers })
  assert.equal(without.features, 0b01_1111n)
  assert.equal(without.config.read(16, 4), 1)
  assert.deepEqual(without.sharedMemory, [])
})

test('a heap without blobs is refused', () => {
  assert.throws(() => new ContextRig({ blob: false }), /a GPU with a heap needs blobs/)
})

test('GET_CAPSET_INFO takes an index, and GET_CAPSET the id of a capability set  @virtio 5.7.6.8', () => {
  const gpu = new ContextRig({ renderers: [new SlowRenderer()] })
  const info = gpu.control(T.GET_CAPSET_INFO, [0, 0])
  assert.equal(info.type, R.OK_CAPSET_INFO)
  assert.deepEqual([...new Uint32Array(info.payload.slice().buffer)], [VENUS, 2, 8, 0])
  assert.equal(gpu.control(T.GET_CAPSET_INFO, [1, 0]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.control(T.GET_CAPSET_INFO, [0xffff_ffff, 0]).type, R.ERR_INVALID_PARAMETER)
  const capset = gpu.control(T.GET_CAPSET, [VENUS, 1])
  assert.deepEqual([capset.type, ...capset.payload], [R.OK_CAPSET, ...Array(8).fill(1)])
  assert.equal(gpu.control(T.GET_CAPSET, [VENUS, 3]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.control(T.GET_CAPSET, [1, 0]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.control(T.GET_CAPSET, [VENUS, 0], { room: 24 + 7 }).type, R.ERR_UNSPEC)
})

test('a context has the requested capability set, or by default the first  @virtio 5.7.6.9 CTX_CREATE', () => {
  const gpu = new ContextRig()
  assert.equal(gpu.createContext(1, CROSS_DOMAIN, 'weston\x07 of user').type, R.OK_NODATA)
  assert.equal(gpu.createContext(2, 0).type, R.OK_NODATA)
  assert.equal(gpu.createContext(3, VENUS).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.createContext(3, CROSS_DOMAIN | 0x100).type, R.OK_NODATA)
  assert.deepEqual(gpu.inspect().contexts, [
    { id: 1, capset: 5, name: 'weston? of user', resources: 0 },
    { id: 2, capset: 5, name: '', resources: 0 },
    { id: 3, capset: 5, name: '', resources: 0 },
  ])
})

test('without CONTEXT_INIT the field context_init is ignored  @virtio 5.7.6.9', () => {
  const features = featureSet(Feature.VERSION_1, GpuFeature.VIRGL)
  const gpu = new ContextRig({}, { features })
  assert.equal(gpu.createContext(1, VENUS).type, R.OK_NODATA)
})

test('without VIRGL there are no contexts and no host blobs  @virtio 5.7.6.8', () => {
  const features = featureSet(Feature.VERSION_1, GpuFeature.RESOURCE_BLOB)
  const gpu = new ContextRig({}, { features })
  assert.equal(gpu.createContext(1).type, R.ERR_UNSPEC)
  assert.equal(gpu.submit(1, []).type, R.ERR_UNSPEC)
  assert.equal(gpu.map(1, 0).type, R.ERR_UNSPEC)
  assert.equal(gpu.unmap(1).type, R.ERR_UNSPEC)
  assert.equal(gpu.createHostBlob(1, 1, 1, 4096).type, R.ERR_INVALID_PARAMETER)
})

test('a context id is in use once at a time, and 0 is invalid  @virtio 5.7.6.9', () => {
  const gpu = new ContextRig()
  assert.equal(gpu.createContext(0).type, R.ERR_INVALID_CONTEXT_ID)
  assert.equal(gpu.destroyContext(1).type, R.ERR_INVALID_CONTEXT_ID)
  assert.equal(gpu.createContext(1).type, R.OK_NODATA)
  assert.equal(gpu.createContext(1).type, R.ERR_INVALID_CONTEXT_ID)
  assert.equal(gpu.destroyContext(1).type, R.OK_NODATA)
  assert.equal(gpu.createContext(1).type, R.OK_NODATA)
  for (const id of [0, 2, 0xffff_ffff]) {
    assert.equal(gpu.submit(id, [0]).type, R.ERR_INVALID_CONTEXT_ID)
    assert.equal(gpu.attachResource(id, 1).type, R.ERR_INVALID_CONTEXT_ID)
    assert.equal(gpu.detachResource(id, 1).type, R.ERR_INVALID_CONTEXT_ID)
  }
})

test('context commands that are truncated or state a wrong length get ERR_INVALID_PARAMETER', () => {
  const gpu = new ContextRig()
  gpu.createContext(1)
  for (const [type, words] of [
    [T.CTX_CREATE, 18],
    [T.CTX_ATTACH_RESOURCE, 2],
    [T.CTX_DETACH_RESOURCE, 2],
    [T.SUBMIT_3D, 2],
    [T.RESOURCE_MAP_BLOB, 4],
    [T.RESOURCE_UNMAP_BLOB, 2],
  ]) {
    const reply = gpu.control(type, Array(words).fill(1), { context: 1, cut: 24 + words * 4 - 1 })
    assert.equal(reply.type, R.ERR_INVALID_PARAMETER, type.toString(16))
  }
  assert.equal(gpu.control(T.SUBMIT_3D, [8, 0, 1], { context: 1 }).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.control(T.SUBMIT_3D, [0xffff_ffff, 0, 1], { context: 1 }).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.control(T.CTX_CREATE, [65, 5, ...Array(16).fill(0)], { context: 2 }).type, R.ERR_INVALID_PARAMETER)
})

test('SUBMIT_3D passes its bytes to the renderer and returns its response  @virtio 5.7.6.9', () => {
  const renderer = new SlowRenderer()
  const gpu = new ContextRig({ renderers: [renderer] })
  gpu.createContext(1, VENUS)
  assert.equal(gpu.submit(1, [0x0403_0201, 5]).type, R.OK_NODATA)
  assert.equal(gpu.submit(1, [0xff]).type, R.ERR_UNSPEC)
  assert.equal(gpu.submit(1, []).type, R.OK_NODATA)
  assert.deepEqual(renderer.calls, ['submit 1 2 3 4 5 0 0 0', 'submit 255 0 0 0', 'submit '])
})

test('a SUBMIT_3D above the limit is refused before it is copied', () => {
  const gpu = new ContextRig({ renderers: [new SlowRenderer()] }, { memorySize: 32 << 20 })
  gpu.createContext(1, VENUS)
  const words = Array(1 << 20).fill(7)
  assert.equal(gpu.submit(1, words).type, R.OK_NODATA)
  assert.equal(gpu.submit(1, [...words, 7]).type, R.ERR_OUT_OF_MEMORY)
})

test('a resource stays attached to a context until either is destroyed  @virtio 5.7.6.9', () => {
  const renderer = new SlowRenderer()
  const gpu = new ContextRig({ renderers: [renderer] })
  gpu.create2d(1, 1, 4, 4)
  gpu.create2d(2, 1, 4, 4)
  gpu.createContext(7, VENUS)
  assert.equal(gpu.attachResource(7, 3).type, R.ERR_INVALID_RESOURCE_ID)
  for (const id of [1, 2, 2]) assert.equal(gpu.attachResource(7, id).type, R.OK_NODATA)
  assert.equal(gpu.inspect().contexts[0].resources, 2)
  assert.equal(gpu.detachResource(7, 1).type, R.OK_NODATA)
  assert.equal(gpu.detachResource(7, 1).type, R.ERR_INVALID_RESOURCE_ID)
  assert.equal(gpu.unref(2).type, R.OK_NODATA)
  assert.equal(gpu.detachResource(7, 2).type, R.ERR_INVALID_RESOURCE_ID)
  gpu.attachResource(7, 1)
  assert.equal(gpu.destroyContext(7).type, R.OK_NODATA)
  assert.equal(gpu.unref(1).type, R.OK_NODATA)
  const calls = ['attach 1', 'attach 2', 'detach 1', 'detach 2', 'attach 1', 'detach 1', 'close']
  assert.deepEqual(renderer.calls, calls)
})

test('contexts and attached resources count towards the host memory of the driver', () => {
  const gpu = new ContextRig()
  const before = gpu.inspect().resources.hostBytes
  let count = 0
  while (gpu.createContext(count + 1).type === R.OK_NODATA) count++
  assert.equal(count, 256)
  gpu.create2d(1, 1, 1, 1)
  assert.equal(gpu.attachResource(1, 1).type, R.OK_NODATA)
  assert.ok(gpu.inspect().resources.hostBytes > before + 256 * 1024)
  gpu.unref(1)
  for (let id = 1; id <= count; id++) gpu.destroyContext(id)
  assert.equal(gpu.inspect().resources.hostBytes, before)

  const poor = new ContextRig({ maxHostBytes: (128 << 10) + 600 })
  assert.equal(poor.createContext(1).type, R.OK_NODATA)
  assert.equal(poor.createContext(2).type, R.ERR_OUT_OF_MEMORY)
  poor.createBlob(1, 4096, [])
  assert.equal(poor.attachResource(1, 1).type, R.ERR_OUT_OF_MEMORY)
})

test('a reset destroys contexts and detaches their resources  @virtio 2.4', async () => {
  const renderer = new SlowRenderer()
  const gpu = new ContextRig({ renderers: [renderer] })
  gpu.create2d(1, 1, 4, 4)
  gpu.createContext(1, VENUS)
  gpu.attachResource(1, 1)
  await gpu.driver.reset()
  assert.deepEqual(renderer.calls, ['attach 1', 'detach 1', 'close'])
  assert.deepEqual(gpu.inspect().contexts, [])
  assert.deepEqual(JSON.parse(JSON.stringify(gpu.inspect())), gpu.inspect())
})
