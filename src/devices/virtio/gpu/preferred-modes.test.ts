import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PreferredModes } from '../../../services/display.ts'
import type { Request } from '../../../virtqueue/driver/index.ts'
import { GpuResponse as R, GpuCommand as T } from './protocol.ts'
import { GpuRig } from './testing/gpu-rig.ts'

const SIZE = { width: 640, height: 480 }

/** A GPU whose display provides preferred modes, and the callbacks of pending requests. */
function rig(): { gpu: GpuRig; callbacks: ((modes: PreferredModes) => void)[] } {
  const gpu = new GpuRig({ scanouts: [SIZE, SIZE] })
  const callbacks: ((modes: PreferredModes) => void)[] = []
  gpu.display.preferredModes = (callback) => callbacks.push(callback)
  return { gpu, callbacks }
}

/** Sends a request that may wait. */
function submit(gpu: GpuRig, type: number, words: readonly number[] = []): Request {
  const header = [type, 0, 0, 0, 0, 0, ...words]
  return gpu.driver.submit(0, [new Uint8Array(Uint32Array.from(header).buffer)], [1056])
}

function wordsOf(request: Request): Uint32Array {
  assert.ok(request.reply, 'there is no response yet')
  return new Uint32Array(request.reply.bytes.slice().buffer)
}

/** Returns x, y, width, height and enabled of a mode in the response to GET_DISPLAY_INFO. */
function mode(request: Request, index: number): number[] {
  return [...wordsOf(request).subarray(6 + index * 6, 11 + index * 6)]
}

test('GET_DISPLAY_INFO and later requests wait for the preferred modes of the viewers', () => {
  const { gpu, callbacks } = rig()
  const waiting = submit(gpu, T.GET_DISPLAY_INFO)
  const behind = submit(gpu, T.RESOURCE_CREATE_2D, [1, 1, 8, 8])
  assert.equal(gpu.cursor(T.MOVE_CURSOR, [0, 3, 4, 0, 0, 0, 0, 0]).type, R.OK_NODATA, 'the cursor queue does not wait')
  assert.ok(!waiting.reply && !behind.reply)
  assert.equal(callbacks.length, 1)
  callbacks[0]([{ width: 1280, height: 720 }, undefined])
  assert.equal(wordsOf(waiting)[0], R.OK_DISPLAY_INFO)
  assert.deepEqual(mode(waiting, 0), [0, 0, 1280, 720, 1])
  assert.deepEqual(mode(waiting, 1), [0, 0, 0, 0, 0])
  assert.equal(wordsOf(behind)[0], R.OK_NODATA)
  assert.equal(gpu.driver.configChanges, 0, 'the response suffices: there is no event')
})

test('preferred modes that are passed within the call are used at once, and requested each time', () => {
  const gpu = new GpuRig({ scanouts: [SIZE, SIZE] })
  let width = 800
  gpu.display.preferredModes = (callback) => callback([undefined, { width: width++, height: 600 }])
  assert.deepEqual(mode(submit(gpu, T.GET_DISPLAY_INFO), 1), [0, 0, 800, 600, 1])
  assert.deepEqual(mode(submit(gpu, T.GET_DISPLAY_INFO), 1), [0, 0, 801, 600, 1])
  assert.deepEqual(
    gpu.inspect().scanouts.map(({ connected }) => connected),
    [false, true],
  )
})

test("GET_EDID returns the EDID of the viewer's monitor, or a generated one if there is none  @virtio 5.7.6.8", () => {
  const { gpu, callbacks } = rig()
  const edid = Uint8Array.from({ length: 256 }, (_, i) => i)
  const waiting = submit(gpu, T.GET_EDID, [0, 0])
  callbacks[0]([{ ...SIZE, edid }, SIZE])
  assert.equal(wordsOf(waiting)[6], 256)
  assert.deepEqual(waiting.reply?.bytes.subarray(32, 32 + 256), edid)
  const other = submit(gpu, T.GET_EDID, [1, 0])
  callbacks[1]([])
  assert.equal(wordsOf(other)[6], 128)
  gpu.device.resize(0, 1024, 768)
  const resized = submit(gpu, T.GET_EDID, [0, 0])
  callbacks[2]([])
  assert.equal(wordsOf(resized)[6], 128, 'a resize replaces the EDID')
})

test('queue and device resets do not wait for preferred modes, and late ones are ignored', async () => {
  const { gpu, callbacks } = rig()
  const first = submit(gpu, T.GET_DISPLAY_INFO)
  gpu.device.stopQueue(1)
  assert.ok(!first.reply)
  gpu.device.stopQueue(0)
  assert.deepEqual(mode(first, 0), [0, 0, 640, 480, 1])
  gpu.device.notify(0)
  const second = submit(gpu, T.GET_DISPLAY_INFO)
  callbacks[0]([{ width: 1, height: 1 }])
  assert.ok(!second.reply, 'these were the modes of the first request')
  await gpu.driver.reset()
  assert.equal(wordsOf(second)[0], R.OK_DISPLAY_INFO)
  callbacks[1]([SIZE])
  gpu.device.notify(0)
})

test('a request without a whole header, or in the cursor queue, requests no preferred modes', () => {
  const { gpu, callbacks } = rig()
  assert.equal(gpu.control(T.GET_DISPLAY_INFO, [], { cut: 20 }).type, R.ERR_UNSPEC)
  assert.equal(gpu.cursor(T.GET_EDID, [0, 0]).type, R.ERR_UNSPEC)
  assert.equal(callbacks.length, 0)
})
