import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R, GpuCommand as T } from '../protocol.ts'
import { ContextRig } from '../testing/context-rig.ts'
import { SlowRenderer } from '../testing/slow-renderer.ts'

const VENUS = 4
const FENCE = 1
const RING = 2

/** A GPU whose contexts complete commands later, and a function that sends fenced commands. */
function slow() {
  const renderer = new SlowRenderer()
  const gpu = new ContextRig({ renderers: [renderer] })
  gpu.createContext(1, VENUS)
  gpu.createContext(2, VENUS)
  /** @returns a function for the words of the response's header; undefined while there is no response */
  const send = (context: number, ring: number, fence: number, flags = FENCE | RING) => {
    const words = [T.SUBMIT_3D, flags, fence, 0, context, ring, 4, 0, 0]
    const request = gpu.driver.submit(0, [new Uint8Array(new Uint32Array(words).buffer)], [24])
    return () => request.reply && [...new Uint32Array(request.reply.bytes.slice().buffer)]
  }
  return { renderer, gpu, send }
}

test('a fenced command is answered when its renderer reports it complete  @virtio 5.7.6.7', () => {
  const { renderer, gpu, send } = slow()
  const answer = send(1, 3, 9)
  assert.equal(answer(), undefined)
  assert.equal(gpu.inspect().fences, 1)
  assert.deepEqual(renderer.fences[0].ring, 3)
  // Requests of the queue without a fence do not wait.
  assert.equal(gpu.create2d(1, 1, 4, 4).type, R.OK_NODATA)
  renderer.fences[0].reached()
  assert.deepEqual(answer(), [R.OK_NODATA, FENCE | RING, 9, 0, 1, 3])
  assert.equal(gpu.inspect().fences, 0)
})

test('without a fence, or with an error, a command is answered at once  @virtio 5.7.6.7', () => {
  const { renderer, gpu, send } = slow()
  assert.deepEqual(send(1, 0, 9, 0)()?.[0], R.OK_NODATA)
  assert.equal(gpu.submit(1, [0xff], { flags: FENCE }).type, R.ERR_UNSPEC)
  assert.equal(gpu.submit(9, [0], { flags: FENCE }).type, R.ERR_INVALID_CONTEXT_ID)
  assert.deepEqual(renderer.fences, [])
})

test('a fence that is reached completes all earlier requests of its timeline, and of no other  @virtio 5.7.6.7', () => {
  const { renderer, send } = slow()
  const [first, otherRing, otherContext, second, third] = [
    send(1, 0, 1),
    send(1, 1, 1),
    send(2, 0, 1),
    send(1, 0, 2),
    send(1, 0, 3),
  ]
  renderer.fences[3].reached()
  assert.deepEqual([first()?.[2], second()?.[2]], [1, 2])
  assert.deepEqual([otherRing(), otherContext(), third()], [undefined, undefined, undefined])
  // A fence that is reached late or twice has no effect.
  renderer.fences[0].reached()
  renderer.fences[3].reached()
  for (const { reached } of renderer.fences) reached()
  assert.deepEqual([otherRing()?.[2], otherContext()?.[2], third()?.[2]], [1, 1, 3])
})

test('destroying a context completes its fences and keeps those of other contexts', () => {
  const { renderer, gpu, send } = slow()
  const [first, second] = [send(1, 0, 1), send(2, 0, 1)]
  gpu.destroyContext(1)
  assert.equal(first()?.[0], R.OK_NODATA)
  assert.equal(second(), undefined)
  renderer.fences[0].reached()
  renderer.fences[1].reached()
  assert.equal(second()?.[0], R.OK_NODATA)
})

test('fences that are never reached are bounded by the queue size, and a reset completes them', async () => {
  const { renderer, gpu, send } = slow()
  const answers = Array.from({ length: 128 }, (_, i) => send(1, i % 64, i))
  assert.equal(gpu.inspect().fences, 128)
  await gpu.driver.reset()
  assert.ok(answers.every((answer) => answer()?.[0] === R.OK_NODATA))
  assert.equal(gpu.inspect().fences, 0)
  for (const { reached } of renderer.fences) reached()
})

test('a queue reset returns fenced requests first  @virtio 2.6.1', () => {
  const { gpu, send } = slow()
  const answer = send(1, 0, 1)
  gpu.device.stopQueue(0)
  assert.equal(answer()?.[0], R.OK_NODATA)
})

test('a context has 64 rings  @virtio 5.7.6.7', () => {
  const { gpu, send } = slow()
  assert.equal(send(1, 63, 1)(), undefined)
  assert.equal(send(1, 64, 1)()?.[0], R.ERR_INVALID_PARAMETER)
  assert.equal(send(1, 255, 1)()?.[0], R.ERR_INVALID_PARAMETER)
  // Without INFO_RING_IDX the field is ignored.
  assert.equal(gpu.submit(1, [0], { ring: 255 }).type, R.OK_NODATA)
})
