import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuResponse as R, GpuCommand as T } from '../../protocol.ts'
import { ContextRig, command, fourcc } from '../../testing/context-rig.ts'
import type { GpuReply } from '../../testing/gpu-rig.ts'
import { MemorySharing } from '../../testing/memory-sharing.ts'

const CONTEXT = 7
const BLOB = 1
const DESCRIBE_IMAGE = 0xf0
const PRESENT = 0xf1
/** A tiled modifier of AMD GFX9, as two words. */
const TILED = [0x1b01, 0x0200_0000] as const

interface Description {
  readonly id?: number
  readonly width?: number
  readonly height?: number
  readonly format?: string
  readonly modifier?: readonly [low: number, high: number]
  readonly planes?: readonly (readonly [offset: number, stride: number])[]
}

/** A GPU with a context, its query ring, and an attached guest blob of two pages. */
function opened(blobFlags = 2): ContextRig & { readonly sharing: MemorySharing } {
  const sharing = new MemorySharing()
  const gpu = new ContextRig({ sharing, heapSize: 1 << 20 })
  gpu.open(CONTEXT)
  gpu.createBlob(BLOB, 8192, [gpu.page(4096), gpu.page(4096)], 1, blobFlags)
  gpu.attachResource(CONTEXT, BLOB)
  return Object.assign(gpu, { sharing })
}

function describe(gpu: ContextRig, description: Description = {}): GpuReply {
  const { id = BLOB, width = 64, height = 32, format = 'XR24', modifier = [0, 0], planes = [[0, 256]] } = description
  const filled = (values: readonly number[]) => [...values, 0, 0, 0, 0].slice(0, 4)
  return gpu.submit(
    CONTEXT,
    command(DESCRIBE_IMAGE, [
      ...[id, width, height, fourcc(format), ...modifier, planes.length, 0],
      ...filled(planes.map(([, stride]) => stride)),
      ...filled(planes.map(([offset]) => offset)),
    ]),
  )
}

function present(gpu: ContextRig, x = 0, y = 0, width = 1, height = 1, id = BLOB): GpuReply {
  return gpu.submit(CONTEXT, command(PRESENT, [id, 0, x, y, width, height]))
}

/** Answer to DESCRIBE_IMAGE: the first two words of the ring. */
function answer(gpu: ContextRig): readonly number[] {
  return gpu.ring().strides.slice(0, 2)
}

/** The exported buffer of a blob. */
function bufferOf(gpu: { readonly sharing: MemorySharing }, what = `resource ${BLOB}`) {
  const buffer = gpu.sharing.open.find((open) => open.what === what)
  assert.ok(buffer)
  return buffer
}

test('DESCRIBE_IMAGE passes the framebuffer layout, with all planes and the modifier, to the buffer', () => {
  const gpu = opened()
  const planes = [
    [0, 256],
    [4096, 64],
  ] as const
  assert.equal(describe(gpu, { modifier: TILED, planes }).type, R.OK_NODATA)
  assert.deepEqual(answer(gpu), [R.OK_NODATA, 1])
  assert.deepEqual(bufferOf(gpu).layouts.at(-1), {
    width: 64,
    height: 32,
    fourcc: fourcc('XR24'),
    modifier: 0x0200_0000_0000_1b01n,
    planes: [
      { offset: 0, stride: 256 },
      { offset: 4096, stride: 64 },
    ],
  })
})

test('PRESENT passes damage to the buffer of a described blob', () => {
  const gpu = opened()
  assert.equal(present(gpu).type, R.ERR_UNSPEC, 'it is not described')
  describe(gpu)
  assert.equal(present(gpu, 1, 2, 63, 30).type, R.OK_NODATA)
  assert.equal(present(gpu, 0, 0, 64, 32).type, R.OK_NODATA)
  assert.deepEqual(bufferOf(gpu).presented, [
    { x: 1, y: 2, width: 63, height: 30 },
    { x: 0, y: 0, width: 64, height: 32 },
  ])
  for (const [x, y, width, height] of [
    [0, 0, 65, 32],
    [0, 0, 64, 33],
    [1, 0, 64, 32],
    [0, 0, 0, 1],
    [0xffff_ffff, 0, 1, 1],
  ]) {
    assert.equal(present(gpu, x, y, width, height).type, R.ERR_INVALID_PARAMETER)
  }
  assert.equal(bufferOf(gpu).presented.length, 2)
})

test('PRESENT of a blob on a scanout reports damage of the scanout only', () => {
  const gpu = opened()
  describe(gpu)
  gpu.setScanoutBlob(0, BLOB, { width: 64, height: 32 }, { x: 8, y: 8, width: 32, height: 16 })
  assert.equal(present(gpu, 0, 0, 10, 10).type, R.OK_NODATA)
  assert.deepEqual(gpu.display.damages.at(-1), { index: 0, x: 0, y: 0, width: 2, height: 2 })
  assert.deepEqual(bufferOf(gpu).presented, [])
})

test('DESCRIBE_IMAGE exports the blob, and the ring contains the kind of the buffer', () => {
  const gpu = opened(0)
  gpu.sharing.kind = 'linear'
  assert.deepEqual(gpu.sharing.buffers, [])
  assert.equal(describe(gpu).type, R.OK_NODATA)
  assert.deepEqual(answer(gpu), [R.OK_NODATA, 2])
  assert.equal(bufferOf(gpu).layouts.length, 1)
})

test('DESCRIBE_IMAGE fails for a blob that cannot be exported', () => {
  const gpu = opened(0)
  gpu.sharing.refusal = { problem: 'too-large', reason: 'it has too many bytes' }
  assert.equal(describe(gpu).type, R.ERR_UNSPEC)
  assert.deepEqual(answer(gpu), [R.ERR_UNSPEC, 0])
  assert.equal(present(gpu).type, R.ERR_UNSPEC)
  const alone = new ContextRig()
  alone.open(CONTEXT)
  alone.createBlob(BLOB, 8192, [alone.page(8192)])
  alone.attachResource(CONTEXT, BLOB)
  assert.equal(describe(alone).type, R.ERR_UNSPEC)
})

test('DESCRIBE_IMAGE and PRESENT need an attached blob and a whole body', () => {
  const gpu = opened()
  gpu.create2d(2, 2, 64, 32)
  gpu.attachResource(CONTEXT, 2)
  gpu.createBlob(3, 8192, [gpu.page(8192)], 1, 2)
  for (const id of [0, 2, 3, 0xffff_ffff]) {
    assert.equal(describe(gpu, { id }).type, R.ERR_INVALID_RESOURCE_ID, `${id}`)
    assert.deepEqual(answer(gpu), [R.ERR_INVALID_RESOURCE_ID, 0])
  }
  assert.equal(gpu.submit(CONTEXT, command(DESCRIBE_IMAGE, Array(15).fill(1))).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.submit(CONTEXT, command(PRESENT, Array(5).fill(1))).type, R.ERR_INVALID_PARAMETER)
  assert.equal(present(gpu, 0, 0, 1, 1, 3).type, R.ERR_INVALID_RESOURCE_ID)
})

test('a description that does not fit in the blob has no effect', () => {
  const gpu = opened()
  describe(gpu)
  for (const wrong of [
    { height: 33 },
    { width: 0 },
    { height: 0 },
    { planes: [[0, 255]] },
    { planes: [[1, 256]] },
    { planes: [] },
    {
      planes: [
        [0, 256],
        [0, 256],
      ],
    },
    { planes: Array(5).fill([0, 256]) },
    { format: 'ABCD' },
    {
      format: 'NV12',
      planes: [
        [0, 64],
        [8192 - 1024 + 1, 64],
      ],
    },
    { modifier: TILED, planes: [[8192, 256]] },
    { modifier: TILED, planes: [] },
  ] satisfies readonly Description[]) {
    assert.equal(describe(gpu, wrong).type, R.ERR_INVALID_PARAMETER, JSON.stringify(wrong))
    assert.deepEqual(answer(gpu), [R.ERR_INVALID_PARAMETER, 0])
  }
  assert.equal(bufferOf(gpu).layouts.length, 1)
  assert.equal(
    describe(gpu, {
      format: 'NV12',
      planes: [
        [0, 64],
        [8192 - 1024, 64],
      ],
    }).type,
    R.OK_NODATA,
  )
})

test('a blob keeps its framebuffer layout when other pages are attached', () => {
  const gpu = opened()
  describe(gpu, { modifier: TILED })
  gpu.detach(BLOB)
  assert.equal(gpu.attach(BLOB, [gpu.page(8192)]).type, R.OK_NODATA)
  assert.equal(gpu.sharing.buffers.filter(({ what }) => what === `resource ${BLOB}`).length, 2)
  assert.equal(bufferOf(gpu).layouts.at(-1)?.modifier, 0x0200_0000_0000_1b01n)
})

test('a scanout of a described blob has its modifier and planes, and is black if not linear', () => {
  const gpu = opened()
  describe(gpu, {
    modifier: TILED,
    planes: [
      [0, 256],
      [8000, 64],
    ],
  })
  assert.equal(gpu.setScanoutBlob(0, BLOB, { width: 64, height: 32 }).type, R.OK_NODATA)
  const surface = gpu.display.surfaces[0]
  assert.equal(surface?.layout.modifier, 0x0200_0000_0000_1b01n)
  assert.equal(surface?.layout.planes.length, 2)
  assert.equal(surface?.buffer, bufferOf(gpu))
  assert.equal(surface?.path, 'dma-buf')
  assert.match(surface?.reason ?? '', /reads as black, since only a GPU can read modifier 0x200000000001b01$/)
  gpu.setScanoutBlob(0, BLOB, { width: 32, height: 32 })
  assert.equal(gpu.display.surfaces[0]?.layout.modifier, 0n, 'the size differs from the description')
})

test('a host blob created from image requirements needs no description', () => {
  const gpu = opened()
  const { blobId, size, strides, offsets } = gpu.require(CONTEXT, 64, 32, 'NV12')
  gpu.createHostBlob(CONTEXT, 2, blobId, size[0], 2, 1 | 2)
  gpu.attachResource(CONTEXT, 2)
  gpu.map(2, 0)
  assert.equal(present(gpu, 0, 0, 64, 32, 2).type, R.OK_NODATA)
  const buffer = bufferOf(gpu, 'resource 2')
  assert.deepEqual(buffer.layouts.at(-1), {
    width: 64,
    height: 32,
    fourcc: fourcc('NV12'),
    modifier: 0n,
    planes: [0, 1].map((i) => ({ offset: offsets[i], stride: strides[i] })),
  })
  assert.deepEqual(buffer.presented, [{ x: 0, y: 0, width: 64, height: 32 }])
})

test('SET_SCANOUT_BLOB accepts both planes of NV12, and the surface reads as B, G, R, X  @virtio 5.7.6.8', () => {
  const gpu = opened()
  const { blobId, size, strides, offsets } = gpu.require(CONTEXT, 64, 32, 'NV12')
  gpu.createHostBlob(CONTEXT, 2, blobId, size[0])
  gpu.map(2, 0)
  const bytes = gpu.memory.window.u8
  // All red, except one pixel that is black; its neighbours with the same chroma are dark red.
  bytes.fill(81, 0, offsets[1])
  for (let i = offsets[1]; i < size[0]; i += 2) bytes.set([90, 240], i)
  bytes[strides[0] + 3] = 16
  const words = (format: number, stride: number) => [
    ...[0, 0, 64, 32, 0, 2, 64, 32, format, 0],
    ...[strides[0], stride, 0, 0],
    ...[offsets[0], offsets[1], 0, 0],
  ]
  assert.equal(gpu.control(T.SET_SCANOUT_BLOB, words(166, strides[1])).type, R.OK_NODATA)
  const pixels = gpu.display.pixels(0)
  assert.deepEqual([pixels[0], pixels[63], pixels[32 * 64 - 1]], Array(3).fill(0xffff0000))
  assert.deepEqual(pixels[64 + 3], 0xffb30000)
  assert.equal(gpu.control(T.SET_SCANOUT_BLOB, words(166, 63)).type, R.ERR_INVALID_PARAMETER)
  assert.equal(gpu.control(T.SET_SCANOUT_BLOB, words(9, strides[1])).type, R.ERR_INVALID_PARAMETER)
})
