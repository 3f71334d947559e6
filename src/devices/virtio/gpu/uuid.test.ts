import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GpuOptions } from './gpu.ts'
import { GpuResponse as R, GpuCommand as T } from './protocol.ts'
import { GpuRig } from './testing/gpu-rig.ts'

/** A source of bytes 0, 1, 2 and so on. */
function counting(): NonNullable<GpuOptions['random']> {
  let next = 0
  return {
    fill: (bytes) => {
      for (let i = 0; i < bytes.length; i++) bytes[i] = next++
    },
  }
}

const assignUuid = (gpu: GpuRig, id: number) => gpu.control(T.RESOURCE_ASSIGN_UUID, [id, 0])

test('RESOURCE_ASSIGN_UUID returns a UUID of version 4 from the random source  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig({ random: counting() })
  gpu.create2d(1, 1, 4, 4)
  const reply = assignUuid(gpu, 1)
  assert.deepEqual([reply.type, reply.written], [R.OK_RESOURCE_UUID, 24 + 16])
  assert.deepEqual([...reply.payload], [0, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15])
})

test('a resource keeps its UUID, and each resource has another  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 1, 4, 4)
  gpu.createBlob(2, 4096, [gpu.page(4096)])
  const [first, second] = [assignUuid(gpu, 1), assignUuid(gpu, 2)]
  assert.notDeepEqual(first.payload, second.payload)
  assert.deepEqual(assignUuid(gpu, 1).payload, first.payload)
  assert.deepEqual(assignUuid(gpu, 2).payload, second.payload)
})

test('a new resource with the id of a destroyed one gets another UUID', () => {
  const gpu = new GpuRig()
  gpu.create2d(1, 1, 4, 4)
  const { payload } = assignUuid(gpu, 1)
  gpu.unref(1)
  assert.equal(assignUuid(gpu, 1).type, R.ERR_INVALID_RESOURCE_ID)
  gpu.create2d(1, 1, 4, 4)
  assert.notDeepEqual(assignUuid(gpu, 1).payload, payload)
})

test('RESOURCE_ASSIGN_UUID needs a resource  @virtio 5.7.6.8', () => {
  const gpu = new GpuRig()
  for (const id of [0, 1, 0xffff_ffff]) assert.equal(assignUuid(gpu, id).type, R.ERR_INVALID_RESOURCE_ID)
})
