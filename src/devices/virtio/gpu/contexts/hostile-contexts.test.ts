import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GpuResponse, GpuCommand as T } from '../protocol.ts'
import { ContextRig, fourcc } from '../testing/context-rig.ts'
import { MemorySharing } from '../testing/memory-sharing.ts'

const PAGE = 4096
const RESPONSES: ReadonlySet<number> = new Set(Object.values(GpuResponse))

/** Mostly valid numbers, so that commands pass the first checks. */
const number = fc.oneof(
  { weight: 6, arbitrary: fc.nat(6) },
  { weight: 2, arbitrary: fc.nat(16).map((pages) => pages * PAGE) },
  { weight: 1, arbitrary: fc.constantFrom(0xff, 0x8000_0000, 0xffff_ffff, fourcc('XR24'), fourcc('NV12')) },
  { weight: 1, arbitrary: fc.nat(0xffff_ffff) },
)
/** A header of the cross-domain protocol, and a possible body. */
const stream = fc
  .tuple(fc.nat(8), fc.oneof(fc.constantFrom(8, 16, 20, 24), fc.nat(64)), fc.array(number, { maxLength: 6 }))
  .map(([command, size, words]) => [command | (size << 16), 0, ...words])
/** A description of an image that may fit its blob, and damage of it. */
const description = fc
  .tuple(fc.nat(4), fc.nat(20), fc.nat(20), fc.constantFrom('XR24', 'NV12', 'YUYV', 'ABCD'), fc.boolean(), fc.nat(4))
  .chain(([id, width, height, format, linear, planes]) =>
    fc
      .array(number, { minLength: 8, maxLength: 8 })
      .map((numbers) => [
        ...[0xf0 | (72 << 16), 0, id, width, height, fourcc(format), linear ? 0 : 7, 0, planes, 0, ...numbers],
        ...[0xf1 | (32 << 16), 0, id, 0, ...numbers.slice(0, 4)],
      ]),
  )
const request = fc.oneof(
  fc.tuple(
    fc.constantFrom(
      ...[T.CTX_CREATE, T.CTX_DESTROY, T.CTX_ATTACH_RESOURCE, T.CTX_DETACH_RESOURCE],
      ...[T.RESOURCE_MAP_BLOB, T.RESOURCE_UNMAP_BLOB, T.RESOURCE_UNREF, T.RESOURCE_CREATE_BLOB],
      ...[T.RESOURCE_ATTACH_BACKING, T.RESOURCE_DETACH_BACKING, T.RESOURCE_ASSIGN_UUID, T.SET_SCANOUT_BLOB],
      ...[T.GET_CAPSET, T.GET_CAPSET_INFO, T.RESOURCE_CREATE_3D, T.TRANSFER_TO_HOST_3D],
    ),
    fc.array(number, { minLength: 2, maxLength: 20 }),
  ),
  fc.oneof(stream, description).map((words): [number, number[]] => [T.SUBMIT_3D, [words.length * 4, 0, ...words]]),
  // A host blob whose arguments are right, except id, size and object.
  fc
    .tuple(number, number, number)
    .map(([id, blobId, size]): [number, number[]] => [T.RESOURCE_CREATE_BLOB, [id, 2, 1, 0, blobId, 0, size, 0]]),
)

test('any sequence of context and heap commands is answered, and stays within the quotas', async () => {
  const step = fc.tuple(request, fc.nat(4), fc.constantFrom(0, 1, 3))
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const sharing = new MemorySharing()
      const gpu = new ContextRig({ heapSize: 16 * PAGE, sharing }, { memorySize: 1 << 18 })
      gpu.open(1)
      gpu.query(1, 64, 16)
      gpu.query(1, 64, 64)
      for (const [[type, words], context, flags] of steps) {
        const reply = gpu.control(type, words, { context, flags })
        assert.ok(RESPONSES.has(reply.type), `command ${type.toString(16)}: ${reply.type.toString(16)}`)
        const { heap, resources } = gpu.inspect()
        assert.ok(heap && heap.bytes <= heap.quota && heap.mapped <= heap.blocks && heap.blocks <= resources.count)
        if (gpu.display.surfaces[0]) gpu.display.pixels(0, { x: 0, y: 0, width: 1, height: 1 })
        assert.ok(sharing.open.every(({ reading }) => reading === 0))
      }
      assert.deepEqual(gpu.driver.failures, [])
      await gpu.driver.reset()
      const { heap, resources, contexts } = gpu.inspect()
      assert.deepEqual([heap?.blocks, heap?.bytes, heap?.mapped, heap?.stored], [0, 0, 0, 0])
      assert.deepEqual([resources.count, resources.hostBytes, contexts], [0, 0, []])
      assert.deepEqual(sharing.open, [])
    }),
    { numRuns: 60 },
  )
})
