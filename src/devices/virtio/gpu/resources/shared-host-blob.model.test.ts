import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SpanList } from '../../../../memory/span-list.ts'
import { GpuResponse as R, GpuCommand as T } from '../protocol.ts'
import { ContextRig } from '../testing/context-rig.ts'
import type { GpuReply } from '../testing/gpu-rig.ts'
import { type MemoryBuffer, MemorySharing } from '../testing/memory-sharing.ts'

const CONTEXT = 7
const PAGE = 4096
/** Bytes of 64 by 64 pixels. */
const SIZE = 4 * PAGE
const IMAGE = { width: 64, height: 64, stride: 256 }
const HEAP = 4 * SIZE

type Step = (gpu: ContextRig, blobId: number, sharing: MemorySharing) => GpuReply | undefined

const id = fc.integer({ min: 1, max: 4 })
const place = fc.integer({ min: 0, max: 7 }).map((half) => (half * SIZE) / 2)

/** A request of the guest, or an action of the host or of a consumer. */
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ id, mem: fc.constantFrom(2, 2, 3), flags: fc.constantFrom(1, 2, 3, 3, 5, 8) }).map(
    ({ id, mem, flags }): Step =>
      (gpu, blobId) =>
        gpu.createHostBlob(CONTEXT, id, blobId, SIZE, mem, flags),
  ),
  fc.tuple(id, place).map(
    ([id, offset]): Step =>
      (gpu) =>
        gpu.map(id, offset),
  ),
  id.map(
    (id): Step =>
      (gpu) =>
        gpu.unmap(id),
  ),
  id.map(
    (id): Step =>
      (gpu) =>
        gpu.unref(id),
  ),
  id.map(
    (id): Step =>
      (gpu) =>
        gpu.setScanoutBlob(0, id, IMAGE),
  ),
  id.map(
    (id): Step =>
      (gpu) =>
        gpu.control(T.RESOURCE_ASSIGN_UUID, [id, 0]),
  ),
  id.map(
    (id): Step =>
      (gpu) =>
        gpu.attach(id, [gpu.page(SIZE)]),
  ),
  id.map(
    (id): Step =>
      (gpu) =>
        gpu.detach(id),
  ),
  fc.tuple(id, fc.constantFrom(T.TRANSFER_TO_HOST_3D, T.TRANSFER_FROM_HOST_3D)).map(
    ([id, type]): Step =>
      (gpu) =>
        gpu.control(type, [0, 0, 0, 64, 64, 1, 0, 0, id, 0, 0, 0]),
  ),
  fc
    .constantFrom<Partial<MemorySharing>>(
      { refusal: { problem: 'no-memory', reason: 'there is none' } },
      { refusal: undefined },
      { kind: 'linear' },
      { kind: 'dma-buf' },
    )
    .map(
      (whim): Step =>
        (_gpu, _blobId, sharing) => {
          Object.assign(sharing, whim)
          return undefined
        },
    ),
  fc.tuple(fc.nat(), fc.boolean()).map(
    ([which, held]): Step =>
      (_gpu, _blobId, sharing) => {
        const { buffers } = sharing
        const buffer = buffers[which % Math.max(1, buffers.length)]
        // A consumer that released a closed buffer cannot hold it again.
        if (buffer && (buffer.closed === 0 || !held)) buffer.held = held
        return undefined
      },
  ),
)

/** Buffers that keep their place: the guest exports them, or a consumer maps them. */
function placed(sharing: MemorySharing): MemoryBuffer[] {
  return sharing.buffers.filter(({ closed, inUse }) => closed === 0 || inUse)
}

function assertApart(buffers: readonly MemoryBuffer[]): void {
  for (const [i, { place: a }] of buffers.entries()) {
    for (const { place: b } of buffers.slice(i + 1)) {
      const apart = !a || !b || a.region !== b.region || Math.abs(a.offset - b.offset) >= SIZE
      assert.ok(apart, `places at ${a?.offset} and ${b?.offset} overlap`)
    }
  }
}

/** The surface reads at the place of the buffer. */
function assertInPlace(gpu: ContextRig, sharing: MemorySharing): void {
  const surface = gpu.display.surfaces[0]
  if (!surface?.buffer) return
  const buffer = sharing.open.find((open) => open === surface.buffer)
  const spans = new SpanList()
  assert.ok(buffer && surface.locate({ x: 0, y: 0, width: 64, height: 64 }, spans))
  assert.deepEqual([spans.count, spans.offsets[0]], [1, buffer.place?.offset])
  assert.equal(spans.regions[0], buffer.place?.region)
}

test('exported host blobs never move, never overlap, and are closed once, in any sequence of commands', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), async (steps) => {
      const sharing = new MemorySharing()
      const gpu = new ContextRig({ sharing, heapSize: HEAP }, { memorySize: 8 << 20 })
      gpu.open(CONTEXT)
      const { blobId } = gpu.require(CONTEXT, 64, 64)
      for (const send of steps) {
        const { open } = sharing
        const reply = send(gpu, blobId, sharing)
        if (reply && reply.type >= R.ERR_UNSPEC) assert.deepEqual(sharing.open, open)
        assertApart(placed(sharing))
        gpu.display.pixels(0, { x: 0, y: 0, width: 64, height: 1 })
        assertInPlace(gpu, sharing)
        assert.ok(sharing.buffers.every(({ closed, reading }) => closed <= 1 && reading === 0))
      }
      await gpu.driver.reset()
      assert.ok(sharing.buffers.every(({ closed }) => closed === 1))
      assert.equal(gpu.heap.inspect().blocks, placed(sharing).length)
      for (const buffer of sharing.buffers) buffer.held = false
      assert.equal(gpu.heap.inspect().blocks, 0)
      assert.equal(gpu.heap.inspect().stored, 0)
    }),
    { numRuns: 150 },
  )
})
