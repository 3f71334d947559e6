import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { GpuDevice } from './gpu.ts'
import { GpuResponse as R, GpuCommand as T } from './protocol.ts'
import { GpuRig } from './testing/gpu-rig.ts'
import { RecordingDisplay } from './testing/recording-display.ts'

const WHOLE = { x: 0, y: 0, width: 8, height: 4 }

test('the device offers EDID, UUIDs and, by default, blobs  @virtio 5.7.3', () => {
  const display = new RecordingDisplay()
  assert.equal(new GpuDevice(display).features, 0b1110n)
  assert.equal(new GpuDevice(display, { blob: false }).features, 0b0110n)
})

test('a device has 1 to 16 scanouts  @virtio 5.7.4.1', () => {
  const size = { width: 640, height: 480 }
  const scanouts = (count: number) => new GpuDevice(new RecordingDisplay(), { scanouts: Array(count).fill(size) })
  assert.throws(() => scanouts(0), /1 to 16 scanouts/)
  assert.throws(() => scanouts(17), /1 to 16 scanouts/)
  assert.equal(scanouts(16).config.read(8, 4), 16)
  assert.equal(scanouts(16).config.read(12, 4), 0)
})

test('a resize sets an event bit until the driver clears it  @virtio 5.7.4.1', () => {
  const gpu = new GpuRig({
    scanouts: [
      { width: 640, height: 480 },
      { width: 800, height: 600 },
    ],
  })
  const { config } = gpu.device
  assert.equal(config.read(0, 4), 0)
  gpu.device.resize(1, 1280, 720)
  assert.equal(gpu.driver.configChanges, 1)
  assert.equal(config.read(0, 4), 1)
  config.write(4, 4, 2)
  assert.equal(config.read(0, 4), 1)
  config.write(4, 1, 1)
  assert.equal(config.read(0, 4), 0)
  assert.equal(config.read(4, 4), 0)
})

test('writes to configuration fields other than events_clear have no effect  @virtio 5.7.4.1', () => {
  const { config } = new GpuRig().device
  for (const offset of [0, 8, 12, 16]) config.write(offset, 4, 0xffff_ffff)
  assert.deepEqual(
    [0, 4, 8, 12, 16].map((offset) => config.read(offset, 4)),
    [0, 0, 1, 0, 1],
  )
})

test('a resize to the current preferred mode raises no event', () => {
  const gpu = new GpuRig({ scanouts: [{ width: 640, height: 480 }] })
  gpu.device.resize(0, 640, 480)
  assert.equal(gpu.driver.configChanges, 0)
  assert.throws(() => gpu.device.resize(1, 640, 480), /no scanout 1/)
})

test('a preferred mode is limited to sizes that a display can have', () => {
  const gpu = new GpuRig()
  const preferred = () => {
    const { payload } = gpu.control(T.GET_DISPLAY_INFO)
    const view = new DataView(payload.buffer, payload.byteOffset)
    return [view.getUint32(8, true), view.getUint32(12, true)]
  }
  gpu.device.resize(0, 0, 1e9)
  assert.deepEqual(preferred(), [64, 16384])
  gpu.device.resize(0, Number.NaN, 700.9)
  assert.deepEqual(preferred(), [64, 700])
})

test('GET_DISPLAY_INFO returns the size of each scanout, placed side by side  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig({
    scanouts: [
      { width: 640, height: 480 },
      { width: 800, height: 600 },
    ],
  })
  const reply = gpu.control(T.GET_DISPLAY_INFO)
  assert.equal(reply.type, R.OK_DISPLAY_INFO)
  assert.equal(reply.written, 24 + 16 * 24)
  const words = new Uint32Array(reply.payload.slice().buffer)
  assert.deepEqual([...words.subarray(0, 6)], [0, 0, 640, 480, 1, 0])
  assert.deepEqual([...words.subarray(6, 12)], [640, 0, 800, 600, 1, 0])
  assert.ok(words.subarray(12).every((word) => word === 0))
})

test('GET_EDID returns the preferred mode, before and after a resize  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig({ scanouts: [{ width: 1366, height: 768 }] })
  const edid = () => {
    const { type, payload, written } = gpu.control(T.GET_EDID, [0, 0])
    assert.equal(type, R.OK_EDID)
    assert.equal(written, 24 + 8 + 1024)
    assert.equal(new DataView(payload.buffer, payload.byteOffset).getUint32(0, true), 128)
    return payload.subarray(8)
  }
  assert.equal(edid()[56] | ((edid()[58] & 0xf0) << 4), 1366)
  gpu.device.resize(0, 1280, 800)
  assert.equal(edid()[56] | ((edid()[58] & 0xf0) << 4), 1280)
  assert.equal(edid()[59] | ((edid()[61] & 0xf0) << 4), 800)
  assert.equal(gpu.control(T.GET_EDID, [1, 0]).type, R.ERR_INVALID_SCANOUT_ID)
})

test('the response to a fenced request repeats its fence id, context and ring  @virtio 5.7.6.7', () => {
  const gpu = new GpuRig()
  const request = { fenceLow: 0xdead_beef, fenceHigh: 0xffff_ffff, context: 7, ring: 63 }
  const fenced = gpu.control(T.GET_DISPLAY_INFO, [], { ...request, flags: 1 })
  assert.deepEqual([fenced.flags, fenced.fenceLow, fenced.fenceHigh], [1, 0xdead_beef, 0xffff_ffff])
  assert.deepEqual([fenced.context, fenced.ring], [7, 0])
  const ringed = gpu.control(0x999, [], { ...request, flags: 3 })
  assert.deepEqual([ringed.type, ringed.flags, ringed.ring], [R.ERR_UNSPEC, 3, 63])
})

test('the response to a request without a fence has no fence  @virtio 5.7.6.7', () => {
  const reply = new GpuRig().control(T.GET_DISPLAY_INFO, [], { fenceLow: 5, context: 7, ring: 9, flags: 2 })
  assert.deepEqual([reply.flags, reply.fenceLow, reply.context, reply.ring], [0, 0, 0, 0])
})

test('a request too short for a header gets ERR_UNSPEC, and no fence  @virtio 5.7.6.7', () => {
  const gpu = new GpuRig()
  for (const cut of [1, 4, 23]) {
    const reply = gpu.control(T.GET_DISPLAY_INFO, [], { flags: 1, fenceLow: 5, cut })
    assert.deepEqual([reply.type, reply.flags, reply.fenceLow, reply.written], [R.ERR_UNSPEC, 0, 0, 24])
  }
  const empty = gpu.driver.send(0, [], [24])
  assert.equal(new DataView(empty.bytes.buffer).getUint32(0, true), R.ERR_UNSPEC)
})

test('a truncated command gets ERR_INVALID_PARAMETER and has no effect  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  const bodies: readonly (readonly [type: number, words: number])[] = [
    [T.GET_EDID, 2],
    [T.RESOURCE_CREATE_2D, 4],
    [T.RESOURCE_CREATE_BLOB, 8],
    [T.RESOURCE_UNREF, 2],
    [T.RESOURCE_ASSIGN_UUID, 2],
    [T.GET_CAPSET_INFO, 2],
    [T.GET_CAPSET, 2],
    [T.RESOURCE_ATTACH_BACKING, 2],
    [T.RESOURCE_DETACH_BACKING, 2],
    [T.SET_SCANOUT, 6],
    [T.SET_SCANOUT_BLOB, 18],
    [T.RESOURCE_FLUSH, 6],
    [T.TRANSFER_TO_HOST_2D, 8],
  ]
  for (const [type, words] of bodies) {
    const reply = gpu.control(type, Array(words).fill(1), { cut: 24 + words * 4 - 1 })
    assert.equal(reply.type, R.ERR_INVALID_PARAMETER, `command ${type.toString(16)}`)
  }
  for (const type of [T.UPDATE_CURSOR, T.MOVE_CURSOR]) {
    const reply = gpu.cursor(type, Array(8).fill(0), { cut: 24 + 31 })
    assert.equal(reply.type, R.ERR_INVALID_PARAMETER, `command ${type.toString(16)}`)
  }
  assert.deepEqual(gpu.display.positions, [])
})

test('a command without room for its response is executed all the same  @virtio 5.7.6.10', () => {
  const gpu = new GpuRig()
  assert.equal(gpu.cursor(T.MOVE_CURSOR, [0, 5, 6, 0, 0, 0, 0, 0], { room: 0 }).written, 0)
  assert.deepEqual(gpu.display.positions[0], { x: 5, y: 6 })
  assert.equal(gpu.control(T.RESOURCE_CREATE_2D, [1, 1, 4, 4], { room: 23 }).written, 0)
  assert.equal(gpu.unref(1).type, R.OK_NODATA)
})

test('a response that does not fit is replaced by an error that fits', () => {
  const gpu = new GpuRig()
  for (const [type, room] of [
    [T.GET_EDID, 24 + 1031],
    [T.GET_DISPLAY_INFO, 24 + 383],
    [T.GET_EDID, 24],
  ]) {
    const reply = gpu.control(type, [0, 0], { room })
    assert.deepEqual([reply.type, reply.written], [R.ERR_UNSPEC, 24])
  }
  assert.equal(gpu.control(T.GET_EDID, [0, 0], { room: 23 }).written, 0)
  // No part of the response that did not fit is left for the next request.
  assert.equal(gpu.create2d(1, 1, 4, 4).written, 24)
})

test('without a renderer there are no capability sets  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  assert.equal(gpu.control(T.GET_CAPSET_INFO, [0, 0]).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.control(T.GET_CAPSET, [1, 0]).type, R.ERR_INVALID_PARAMETER)
})

test('commands that are unknown, not offered or of the other queue get ERR_UNSPEC  @virtio 5.7.6.7', () => {
  const gpu = new GpuRig()
  const unknown = [0, 0xff, 0x10e, 0x1100, 0xffff_ffff, T.CTX_CREATE, T.SUBMIT_3D, T.RESOURCE_CREATE_3D]
  for (const type of [...unknown, T.RESOURCE_MAP_BLOB, T.UPDATE_CURSOR, T.MOVE_CURSOR]) {
    assert.equal(gpu.control(type, Array(16).fill(0)).type, R.ERR_UNSPEC, type.toString(16))
  }
  assert.equal(gpu.cursor(T.GET_DISPLAY_INFO).type, R.ERR_UNSPEC)
})

test('commands of features that were not negotiated get ERR_UNSPEC  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig({}, { features: featureSet(Feature.VERSION_1) })
  assert.equal(gpu.control(T.GET_EDID, [0, 0]).type, R.ERR_UNSPEC)
  assert.equal(gpu.control(T.RESOURCE_ASSIGN_UUID, [1, 0]).type, R.ERR_UNSPEC)
  assert.equal(gpu.createBlob(1, 4096, [gpu.page(4096)]).type, R.ERR_UNSPEC)
  assert.equal(gpu.setScanoutBlob(0, 1, { width: 4, height: 4 }).type, R.ERR_UNSPEC)
})

test('a reset destroys everything the driver created, and clears the displays  @virtio 2.4', async () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 1, 8, 4)
  gpu.create2d(2, 1, 64, 64)
  gpu.setScanout(0, 1, WHOLE)
  gpu.updateCursor(0, 2)
  gpu.device.resize(0, 800, 600)
  const kept = gpu.display.surfaces[0]
  assert.ok(kept && gpu.display.cursors[0])
  await gpu.driver.reset()
  assert.equal(gpu.display.surfaces[0], undefined)
  assert.equal(gpu.display.cursors[0], undefined)
  const nothing = { count: 0, hostBytes: 0, maxHostBytes: 256 << 20, paths: {}, notShared: {} }
  assert.deepEqual(gpu.inspect().resources, nothing)
  assert.equal(gpu.device.config.read(0, 4), 0)
  // A surface that was kept reads as black: the host's copy is released.
  const target = new Uint8Array(128).fill(1)
  assert.equal(kept.read(WHOLE, target, 0, 32), 0)
  assert.ok(target.every((byte) => byte === 0))
  gpu.device.notify(0)
})

test('a queue reset keeps the resources of the driver  @virtio 2.6.1', () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 1, 8, 4)
  gpu.device.stopQueue(0)
  assert.equal(gpu.setScanout(0, 1, WHOLE).type, R.OK_NODATA)
})

test('commands and errors are counted by name', () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 1, 8, 4)
  gpu.attach(1, [gpu.page(128)])
  gpu.setScanout(0, 1, WHOLE)
  gpu.transfer(1, { x: 1, y: 1, width: 4, height: 2 }, 36)
  gpu.flush(1, { x: 1, y: 1, width: 4, height: 2 })
  gpu.display.pixels(0, { x: 0, y: 0, width: 2, height: 2 })
  gpu.control(0x999)
  const { commands, errors, scanouts, resources } = gpu.inspect()
  assert.deepEqual(commands, {
    RESOURCE_CREATE_2D: 1,
    RESOURCE_ATTACH_BACKING: 1,
    SET_SCANOUT: 1,
    TRANSFER_TO_HOST_2D: 1,
    RESOURCE_FLUSH: 1,
    unknown: 1,
  })
  assert.deepEqual(errors, { ERR_UNSPEC: 1 })
  assert.deepEqual(scanouts, [
    {
      connected: true,
      preferred: { width: 1024, height: 768 },
      mode: { width: 8, height: 4 },
      path: 'copy',
      reason: gpu.display.surfaces[0]?.reason,
      kind: null,
      flushes: 1,
      lastDamage: { x: 1, y: 1, width: 4, height: 2 },
      bytesTransferred: 32,
      bytesRead: 16,
      bytesCopied: 48,
    },
  ])
  assert.ok(resources.hostBytes > 128)
  assert.deepEqual(JSON.parse(JSON.stringify(gpu.inspect())), gpu.inspect())
})
