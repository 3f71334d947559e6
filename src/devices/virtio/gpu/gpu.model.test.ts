import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Rect } from '../../../services/rect.ts'
import { GpuResponse as R, GpuCommand as T } from './protocol.ts'
import { type Entry, type GpuReply, GpuRig } from './testing/gpu-rig.ts'
import { type MemoryBuffer, MemorySharing } from './testing/memory-sharing.ts'

const SCANOUTS = 2
const MAX_HOST_BYTES = 64 << 10
const MEMORY = 2 << 20

/** Expected state, derived from the responses alone. */
class Model {
  readonly resources = new Set<number>()
  /** The resource each scanout shows. */
  readonly shown: (number | undefined)[] = Array(SCANOUTS).fill(undefined)
}

/** A request, and its effect on the model if the response is OK. */
interface Step {
  readonly send: (gpu: GpuRig, pages: Entry) => GpuReply
  readonly done?: (model: Model) => void
}

const wild = fc.constantFrom(0, 5, 64, 4096, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff)
/** Mostly a valid number: random commands that all fail prove little. */
const some = (min: number, max: number) =>
  fc.oneof({ weight: 20, arbitrary: fc.integer({ min, max }) }, { weight: 1, arbitrary: wild })
const id = some(1, 4)
/** Mostly a resource of the kind that the command needs. */
const imageId = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(1, 2) }, { weight: 1, arbitrary: id })
const blobId = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(3, 4) }, { weight: 1, arbitrary: id })
const scanout = some(0, SCANOUTS - 1)
const format = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 2, 3, 4, 67, 68, 121, 134) },
  { weight: 1, arbitrary: some(0, 200) },
)
const rect: fc.Arbitrary<Rect> = fc.record({ x: some(0, 3), y: some(0, 3), width: some(1, 5), height: some(1, 5) })
/** Pieces of the pages, of any length; sometimes addresses outside of guest memory. */
const entries = fc.array(
  fc.oneof(
    { weight: 40, arbitrary: fc.record({ address: fc.nat(4096), length: fc.integer({ min: 500, max: 4096 }) }) },
    { weight: 1, arbitrary: fc.record({ address: wild, length: wild }) },
  ),
  { minLength: 1, maxLength: 6 },
)
const within = (pages: Entry, list: readonly Entry[]) =>
  list.map(({ address, length }) => ({ address: pages.address + address, length }))

const show = (index: number, resource: number) => (model: Model) => {
  model.shown[index] = resource === 0 ? undefined : resource
}

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ id: imageId, format, width: some(5, 20), height: some(5, 20) }).map(
    ({ id, format, width, height }): Step => ({
      send: (gpu) => gpu.create2d(id, format, width, height),
      done: (model) => model.resources.add(id),
    }),
  ),
  fc.constant<Step>({ send: (gpu) => gpu.create2d(5, 1, 64, 64), done: (model) => model.resources.add(5) }),
  fc
    .record({
      id: blobId,
      size: some(300, 1000),
      list: entries,
      mem: fc.constantFrom(1, 1, 1, 1, 1, 1, 0, 2, 3),
      flags: fc.constantFrom(0, 0, 1, 2, 3, 4, 8, 10, 16),
    })
    .map(
      ({ id, size, list, mem, flags }): Step => ({
        send: (gpu, pages) => gpu.createBlob(id, size, within(pages, list), mem, flags),
        done: (model) => model.resources.add(id),
      }),
    ),
  id.map(
    (id): Step => ({
      send: (gpu) => gpu.unref(id),
      done: (model) => {
        model.resources.delete(id)
        for (let i = 0; i < SCANOUTS; i++) if (model.shown[i] === id) model.shown[i] = undefined
      },
    }),
  ),
  fc.record({ id, list: entries, more: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 16385) }).map(
    ({ id, list, more }): Step => ({
      send: (gpu, pages) => gpu.attach(id, within(pages, list), list.length + more),
    }),
  ),
  id.map((id): Step => ({ send: (gpu) => gpu.detach(id) })),
  id.map((id): Step => ({ send: (gpu) => gpu.control(T.RESOURCE_ASSIGN_UUID, [id, 0]) })),
  fc.record({ scanout, id: imageId, rect }).map(
    ({ scanout, id, rect }): Step => ({
      send: (gpu) => gpu.setScanout(scanout, id, rect),
      done: show(scanout, id),
    }),
  ),
  fc
    .record({
      scanout,
      id,
      width: some(1, 8),
      height: some(1, 8),
      format,
      stride: some(32, 40),
      offset: some(0, 40),
      rect,
    })
    .map(
      ({ scanout, id, rect, ...image }): Step => ({
        send: (gpu) => gpu.setScanoutBlob(scanout, id, image, rect),
        done: show(scanout, id),
      }),
    ),
  fc.record({ id, rect }).map(({ id, rect }): Step => ({ send: (gpu) => gpu.flush(id, rect) })),
  fc.record({ id: imageId, rect, offset: some(0, 200) }).map(
    ({ id, rect, offset }): Step => ({
      send: (gpu) => gpu.transfer(id, rect, offset),
    }),
  ),
  fc.record({ scanout, id: fc.oneof(fc.constant(5), id), x: wild, y: wild }).map(
    ({ scanout, id, x, y }): Step => ({
      send: (gpu) => gpu.updateCursor(scanout, id, x, y, x, y),
    }),
  ),
  fc.record({ scanout, x: wild, y: wild }).map(
    ({ scanout, x, y }): Step => ({
      send: (gpu) => gpu.moveCursor(scanout, x, y),
    }),
  ),
  // Any request, of any length, with any room for the response, except those that create or show a resource.
  fc
    .record({
      type: fc.constantFrom(0, T.GET_DISPLAY_INFO, T.GET_EDID, T.GET_CAPSET, T.RESOURCE_FLUSH, T.TRANSFER_TO_HOST_2D),
      words: fc.array(fc.oneof(id, wild), { maxLength: 12 }),
      cursor: fc.boolean(),
      cut: fc.nat(80),
      room: fc.constantFrom(0, 1, 23, 24, 25, 407, 408, 1056),
      flags: fc.nat(3),
    })
    .map(
      ({ type, words, cursor, ...options }): Step => ({
        send: (gpu) => (cursor ? gpu.cursor(type, words, options) : gpu.control(type, words, options)),
      }),
    ),
)

/** Ability of the host to export when a request arrives. */
const ability = fc.constantFrom<Partial<MemorySharing>>(
  { kind: 'dma-buf', refusal: undefined },
  { kind: 'linear', refusal: undefined },
  { refusal: { problem: 'no-memory', reason: 'there is none' } },
)

/** Creates resources of each kind, so that later commands have something to act on. */
function furnish(gpu: GpuRig, pages: Entry, model: Model): void {
  for (const id of [1, 2]) gpu.create2d(id, 2, 10, 10)
  for (const id of [3, 4]) gpu.createBlob(id, 400, [pages])
  for (const id of [1, 2]) gpu.attach(id, [pages])
  gpu.setScanout(0, 1, { x: 0, y: 0, width: 10, height: 10 })
  gpu.setScanoutBlob(1, 3, { width: 10, height: 10 })
  for (const id of [1, 2, 3, 4]) model.resources.add(id)
  model.shown.splice(0, SCANOUTS, 1, 3)
}

function assertSane(gpu: GpuRig, model: Model, reply: GpuReply): void {
  const known: readonly number[] = Object.values(R)
  if (reply.written > 0) assert.ok(known.includes(reply.type), `response ${reply.type.toString(16)}`)
  const { count, hostBytes } = gpu.inspect().resources
  assert.equal(count, model.resources.size)
  assert.ok(hostBytes >= 0 && hostBytes <= MAX_HOST_BYTES, `${hostBytes} bytes held`)
  for (let i = 0; i < SCANOUTS; i++) {
    assert.equal(gpu.display.surfaces[i] !== undefined, model.shown[i] !== undefined, `scanout ${i}`)
    gpu.display.pixels(i)
  }
  for (const { index, x, y, width, height } of gpu.display.damages.splice(0)) {
    const surface = gpu.display.surfaces[index]
    assert.ok(surface && width > 0 && height > 0 && x >= 0 && y >= 0)
    assert.ok(x + width <= surface.width && y + height <= surface.height)
  }
}

/** Open buffers belong to existing resources, each is closed at most once, and a request that fails creates none. */
function assertShared(gpu: GpuRig, sharing: MemorySharing, failed: boolean, before: readonly MemoryBuffer[]): void {
  const { open } = sharing
  assert.ok(open.length <= gpu.inspect().resources.count)
  assert.ok(sharing.buffers.every(({ closed, reading }) => closed <= 1 && reading === 0))
  if (failed) assert.deepEqual(open, before)
  for (const surface of gpu.display.surfaces) {
    if (surface?.buffer) assert.ok(open.some((buffer) => buffer === surface.buffer))
  }
}

test('every sequence of commands is answered without a crash, and a reset removes its effects', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(step, ability), { minLength: 20, maxLength: 80 }),
      fc.constantFrom(true, true, true, false),
      async (steps, blob) => {
        const scanouts = Array.from({ length: SCANOUTS }, () => ({ width: 64, height: 64 }))
        const sharing = new MemorySharing()
        const options = { scanouts, blob, sharing, guestHandleFeature: 50, maxHostBytes: MAX_HOST_BYTES }
        const gpu = new GpuRig(options, { memorySize: MEMORY })
        const pages = gpu.page(8192)
        const model = new Model()
        if (blob) furnish(gpu, pages, model)
        for (const [{ send, done }, able] of steps) {
          Object.assign(sharing, able)
          const { open } = sharing
          // Fails if the device does not answer at once.
          const reply = send(gpu, pages)
          if (reply.type === R.OK_NODATA) done?.(model)
          assertSane(gpu, model, reply)
          assertShared(gpu, sharing, reply.type >= R.ERR_UNSPEC, open)
        }
        assert.deepEqual(gpu.driver.failures, [])
        await gpu.driver.reset()
        assert.ok(sharing.buffers.every(({ closed }) => closed === 1))
        const { count, hostBytes, paths } = gpu.inspect().resources
        assert.deepEqual({ count, hostBytes, paths }, { count: 0, hostBytes: 0, paths: {} })
        assert.ok([...gpu.display.surfaces, ...gpu.display.cursors].every((shown) => shown === undefined))
      },
    ),
    { numRuns: 150 },
  )
})
