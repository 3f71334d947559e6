import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PreferredModes } from '../../../services/display.ts'
import type { Request } from '../../../virtqueue/driver/index.ts'
import { GpuResponse as R, GpuCommand as T } from './protocol.ts'
import { GpuRig } from './testing/gpu-rig.ts'

const SIZE = { width: 640, height: 480 }

/** A GPU whose display has to be asked, and the questions it has. */
function rig(): { gpu: GpuRig; questions: ((wishes: PreferredModes) => void)[] } {
  const gpu = new GpuRig({ scanouts: [SIZE, SIZE] })
  const questions: ((wishes: PreferredModes) => void)[] = []
  gpu.display.preferredModes = (told) => questions.push(told)
  return { gpu, questions }
}

/** Sends a request that may wait. */
function submit(gpu: GpuRig, type: number, words: readonly number[] = []): Request {
  const header = [type, 0, 0, 0, 0, 0, ...words]
  return gpu.driver.submit(0, [new Uint8Array(Uint32Array.from(header).buffer)], [1056])
}

function wordsOf(request: Request): Uint32Array {
  assert.ok(request.reply, 'no answer yet')
  return new Uint32Array(request.reply.bytes.slice().buffer)
}

/** Of a mode in the answer to GET_DISPLAY_INFO: x, y, width, height, enabled. */
function mode(request: Request, index: number): number[] {
  return [...wordsOf(request).subarray(6 + index * 6, 11 + index * 6)]
}

test('a question about the display waits until its viewers told, and so does what comes behind it', () => {
  const { gpu, questions } = rig()
  const asked = submit(gpu, T.GET_DISPLAY_INFO)
  const behind = submit(gpu, T.RESOURCE_CREATE_2D, [1, 1, 8, 8])
  assert.equal(gpu.cursor(T.MOVE_CURSOR, [0, 3, 4, 0, 0, 0, 0, 0]).type, R.OK_NODATA, 'the cursor waits for nobody')
  assert.ok(!asked.reply && !behind.reply)
  assert.equal(questions.length, 1)
  questions[0]([{ width: 1280, height: 720 }, undefined])
  assert.equal(wordsOf(asked)[0], R.OK_DISPLAY_INFO)
  assert.deepEqual(mode(asked, 0), [0, 0, 1280, 720, 1])
  assert.deepEqual(mode(asked, 1), [0, 0, 0, 0, 0])
  assert.equal(wordsOf(behind)[0], R.OK_NODATA)
  assert.equal(gpu.driver.configChanges, 0, 'the driver asked: it needs no event')
})

test('an answer within the question is taken at once, and each question asks anew', () => {
  const gpu = new GpuRig({ scanouts: [SIZE, SIZE] })
  let width = 800
  gpu.display.preferredModes = (told) => told([undefined, { width: width++, height: 600 }])
  assert.deepEqual(mode(submit(gpu, T.GET_DISPLAY_INFO), 1), [0, 0, 800, 600, 1])
  assert.deepEqual(mode(submit(gpu, T.GET_DISPLAY_INFO), 1), [0, 0, 801, 600, 1])
  assert.deepEqual(
    gpu.inspect().scanouts.map(({ connected }) => connected),
    [false, true],
  )
})

test("a viewer's own EDID is what the driver gets; where it has none, one is made  @virtio 5.7.6.8", () => {
  const { gpu, questions } = rig()
  const edid = Uint8Array.from({ length: 256 }, (_, i) => i)
  const asked = submit(gpu, T.GET_EDID, [0, 0])
  questions[0]([{ ...SIZE, edid }, SIZE])
  assert.equal(wordsOf(asked)[6], 256)
  assert.deepEqual(asked.reply?.bytes.subarray(32, 32 + 256), edid)
  const other = submit(gpu, T.GET_EDID, [1, 0])
  questions[1]([])
  assert.equal(wordsOf(other)[6], 128)
  gpu.device.resize(0, 1024, 768)
  const resized = submit(gpu, T.GET_EDID, [0, 0])
  questions[2]([])
  assert.equal(wordsOf(resized)[6], 128, 'a viewer that is another size is another monitor')
})

test('a queue that is reset, and a device that is, wait for no answer; one that comes too late harms nobody', async () => {
  const { gpu, questions } = rig()
  const first = submit(gpu, T.GET_DISPLAY_INFO)
  gpu.device.stopQueue(1)
  assert.ok(!first.reply)
  gpu.device.stopQueue(0)
  assert.deepEqual(mode(first, 0), [0, 0, 640, 480, 1])
  gpu.device.notify(0)
  const second = submit(gpu, T.GET_DISPLAY_INFO)
  questions[0]([{ width: 1, height: 1 }])
  assert.ok(!second.reply, 'that was the answer to the first')
  await gpu.driver.reset()
  assert.equal(wordsOf(second)[0], R.OK_DISPLAY_INFO)
  questions[1]([SIZE])
  gpu.device.notify(0)
})

test('what is no whole question asks nobody', () => {
  const { gpu, questions } = rig()
  assert.equal(gpu.control(T.GET_DISPLAY_INFO, [], { cut: 20 }).type, R.ERR_UNSPEC)
  assert.equal(gpu.cursor(T.GET_EDID, [0, 0]).type, R.ERR_UNSPEC)
  assert.equal(questions.length, 0)
})
