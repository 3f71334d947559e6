import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { FramebufferLayout } from '../../../../services/framebuffer-layout.ts'
import { Resource } from '../resources/resource.ts'
import { ResourceSurface } from '../resources/resource-surface.ts'
import { fourccOf } from './image-planes.ts'
import { BGRA } from './pixel-format.ts'
import { blobLayout, framebufferLayoutOf, type PixelLayout, packedLayout } from './pixel-layout.ts'

const CODES = [1, 2, 3, 4, 7, 8, 14, 15, 67, 68, 121, 131, 134, 163, 165, 166, 167, 233, 308, 314]
const TILED = 0x0200_0000_0000_1b01n

/** A resource that counts reads, and fails if they are out of bounds. */
class Watched extends Resource {
  readonly path = 'scatter'
  readonly reason = 'a test reads it'
  reads = 0

  constructor(private readonly size: number) {
    super(1)
  }

  get byteLength(): number {
    return this.size
  }

  accepts(): boolean {
    return false
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    assert.ok(offset >= 0 && length > 0 && offset + length <= this.size, `${length} bytes at ${offset} of ${this.size}`)
    target.fill(0x80, targetOffset, targetOffset + length)
    this.reads++
    return length
  }

  locate(offset: number, length: number): boolean {
    assert.ok(offset >= 0 && length > 0 && offset + length <= this.size, `${length} bytes at ${offset} of ${this.size}`)
    return false
  }
}

const small = fc.nat(40)
const number = fc.oneof(
  { weight: 6, arbitrary: small },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff) },
)
const four = fc.array(number, { minLength: 4, maxLength: 4 })

test('no framebuffer layout of a guest causes a read outside its blob', () => {
  let accepted = 0
  const request = fc.record({
    format: fc.constantFrom(...CODES),
    width: number,
    height: number,
    strides: four,
    offsets: four,
  })
  const cut = fc.tuple(small, small, small, small)
  fc.assert(
    fc.property(request, fc.integer({ min: 1, max: 4096 }), cut, fc.boolean(), (asked, size, [x, y, w, h], gaps) => {
      // Strides that mostly fit, because random ones are mostly too short.
      const strides = gaps
        ? asked.strides.map((stride) => Math.min(0xffff_ffff, stride + 4 * asked.width))
        : asked.strides
      const image = blobLayout({ ...asked, strides }, size, undefined)
      if (!image) return
      accepted++
      const resource = new Watched(size)
      const whole = { x: 0, y: 0, width: image.width, height: image.height }
      // Rows never overlap, so the size of the blob bounds the number of pixels.
      assert.ok(image.width * image.height <= 8 * size)
      const part = { x: x % image.width, y: y % image.height }
      const width = Math.max(1, Math.min(w, image.width - part.x))
      const height = Math.max(1, Math.min(h, image.height - part.y))
      const surface = new ResourceSurface(resource, image, { ...part, width, height })
      const rect = { x: 0, y: 0, width, height }
      assert.equal(surface.read(rect, new Uint8Array(4 * width * height), 0, 4 * width), 4 * width * height)
      surface.locate(rect, { merge: () => {} } as never)
      new ResourceSurface(resource, image, whole).locate(whole, { merge: () => {} } as never)
      assert.ok(resource.reads > 0)
    }),
    { numRuns: 5000 },
  )
  assert.ok(accepted > 100, `${accepted} layouts were read`)
})

function asked(format: number, strides: readonly number[], offsets: readonly number[], width = 64, height = 32) {
  const filled = (values: readonly number[]) => [...values, 0, 0, 0].slice(0, 4)
  return { format, width, height, strides: filled(strides), offsets: filled(offsets) }
}

test('a layout has as many planes as its format, and other strides and offsets are ignored', () => {
  const planesOf = (image: PixelLayout | undefined) => image?.planes.map(({ offset, stride }) => [offset, stride])
  assert.deepEqual(planesOf(blobLayout(asked(2, [256, 1, 1, 1], [0, 9999]), 8192, undefined)), [[0, 256]])
  assert.deepEqual(planesOf(blobLayout(asked(166, [64, 64], [0, 2048]), 3072, undefined)), [
    [0, 64],
    [2048, 64],
  ])
  assert.equal(blobLayout(asked(166, [64, 64], [0, 2048]), 3071, undefined), undefined)
  assert.equal(blobLayout(asked(166, [64, 0], [0, 2048]), 8192, undefined), undefined)
  assert.deepEqual(planesOf(blobLayout(asked(163, [64, 32, 32], [0, 2048, 2560]), 3072, undefined)), [
    [0, 64],
    [2048, 32],
    [2560, 32],
  ])
  assert.equal(blobLayout(asked(9, [256], [0]), 8192, undefined), undefined, 'the format is unknown')
})

test('consumers receive the framebuffer layout that DRM needs', () => {
  assert.deepEqual(framebufferLayoutOf(packedLayout(3, 2, BGRA)), {
    width: 3,
    height: 2,
    fourcc: fourccOf('AR24'),
    modifier: 0n,
    planes: [{ offset: 0, stride: 12 }],
  })
})

const DESCRIBED: FramebufferLayout = {
  width: 64,
  height: 32,
  fourcc: fourccOf('AR24'),
  modifier: TILED,
  planes: [
    { offset: 0, stride: 256 },
    { offset: 8192, stride: 64 },
  ],
}

test('SET_SCANOUT_BLOB takes modifier and planes of a description with the same size, format and layout', () => {
  const image = blobLayout(asked(2, [256], [0]), 9000, DESCRIBED)
  assert.deepEqual([image?.modifier, image?.planes], [TILED, DESCRIBED.planes])
  assert.equal(image?.fourcc, fourccOf('XR24'), 'the command states if the fourth byte is alpha')
  for (const [what, request] of [
    ['width', asked(2, [256], [0], 63)],
    ['height', asked(2, [256], [0], 64, 31)],
    ['stride', asked(2, [260], [0])],
    ['offset', asked(2, [256], [4])],
    ['pixels', asked(7, [256], [0])],
  ] as const) {
    const other = blobLayout(request, 9000, DESCRIBED)
    assert.deepEqual([other?.modifier, other?.planes.length], [0n, 1], what)
  }
})

test('a surface with a modifier that is not linear reads as black, has a reason, and cannot be located', () => {
  const image = blobLayout(asked(2, [256], [0]), 9000, DESCRIBED)
  assert.ok(image)
  const resource = new Watched(9000)
  const surface = new ResourceSurface(resource, image, { x: 0, y: 0, width: 64, height: 32 })
  const target = new Uint8Array(4 * 64 * 2).fill(0xee)
  assert.equal(surface.read({ x: 0, y: 0, width: 64, height: 1 }, target, 0, 256), 0)
  assert.deepEqual([target[0], target[255], target[256]], [0, 0, 0xee])
  assert.ok(!surface.locate({ x: 0, y: 0, width: 64, height: 1 }, { merge: () => {} } as never))
  assert.equal(resource.reads, 0)
  assert.match(surface.reason, /reads as black, since only a GPU can read modifier 0x200000000001b01$/)
  assert.equal(surface.layout.modifier, TILED)
})
