import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GuestMemory } from '../../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../../memory/memory-region.ts'
import { ScatterList } from '../../../../memory/scatter-list.ts'
import { SpanList } from '../../../../memory/span-list.ts'
import type { PlaneLayout } from '../../../../services/framebuffer-layout.ts'
import type { Rect } from '../../../../services/rect.ts'
import { planeRowBytes, planeRows, planesOf } from '../pixels/image-planes.ts'
import { blobFormat, pixelFormat } from '../pixels/pixel-format.ts'
import { type PixelLayout, packedLayout } from '../pixels/pixel-layout.ts'
import { GuestBlob, Resource2d } from './resource.ts'
import { ResourceSurface } from './resource-surface.ts'

/** Order of the channels in each format, by the letters of its name. */
const ORDERS = { 1: 'BGRA', 2: 'BGRX', 3: 'ARGB', 4: 'XRGB', 67: 'RGBA', 68: 'XBGR', 121: 'ABGR', 134: 'RGBX' }

function blobOver(bytes: Uint8Array): GuestBlob {
  const memory = new GuestMemory([MemoryRegion.over(0, bytes)])
  const backing = new ScatterList(memory)
  backing.add(0, bytes.length)
  const blob = new GuestBlob(1, bytes.length)
  blob.attach(backing)
  return blob
}

test('any rectangle, stride, offset and format reads as B, G, R, X, and writes nothing else', () => {
  const numbers = fc.record({
    format: fc.constantFrom(1, 2, 3, 4, 67, 68, 121, 134),
    width: fc.integer({ min: 1, max: 9 }),
    height: fc.integer({ min: 1, max: 7 }),
    gap: fc.integer({ min: 0, max: 9 }),
    offset: fc.integer({ min: 0, max: 9 }),
    targetOffset: fc.integer({ min: 0, max: 9 }),
    targetGap: fc.integer({ min: 0, max: 9 }),
    rect: fc.tuple(fc.nat(8), fc.nat(6), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 7 })),
  })
  fc.assert(
    fc.property(numbers, ({ format, width, height, gap, offset, targetOffset, targetGap, rect: [x, y, w, h] }) => {
      const rect = { x, y, width: Math.min(w, width - x), height: Math.min(h, height - y) }
      fc.pre(rect.width > 0 && rect.height > 0)
      const layout = pixelFormat(format)
      assert.ok(layout)
      const stride = width * 4 + gap
      const bytes = Uint8Array.from({ length: 512 }, (_, i) => (i * 37) & 0xff)
      const surface = new ResourceSurface(
        blobOver(bytes),
        { ...packedLayout(width, height, layout), planes: [{ offset, stride }] },
        { x: 0, y: 0, width, height },
      )
      const targetStride = rect.width * 4 + targetGap
      const target = new Uint8Array(targetOffset + rect.height * targetStride + 8).fill(0xee)
      const expected = target.slice()
      const order = ORDERS[format as keyof typeof ORDERS]
      for (let row = 0; row < rect.height; row++) {
        for (let column = 0; column < rect.width; column++) {
          const from = offset + (rect.y + row) * stride + (rect.x + column) * 4
          const to = targetOffset + row * targetStride + column * 4
          for (const [i, channel] of ['B', 'G', 'R', /[AX]/].entries())
            expected[to + i] = bytes[from + order.search(channel)]
        }
      }
      assert.equal(surface.read(rect, target, targetOffset, targetStride), rect.width * rect.height * 4)
      assert.deepEqual(target, expected)
    }),
  )
})

test('locate appends the spans of pixels that are in the order of displays and have memory', () => {
  const bytes = Uint8Array.from({ length: 128 }, (_, i) => i)
  const blob = blobOver(bytes)
  const surfaceIn = (code: number) => {
    const format = pixelFormat(code)
    assert.ok(format)
    const image: PixelLayout = { ...packedLayout(4, 4, format), planes: [{ offset: 8, stride: 20 }] }
    return new ResourceSurface(blob, image, { x: 1, y: 0, width: 3, height: 4 })
  }
  const rect = { x: 1, y: 1, width: 2, height: 2 }
  const spans = new SpanList()
  assert.ok(surfaceIn(2).locate(rect, spans))
  assert.deepEqual([...spans.offsets.subarray(0, spans.count)], [36, 56])
  assert.deepEqual([...spans.lengths.subarray(0, spans.count)], [8, 8])
  assert.ok(!surfaceIn(67).locate(rect, spans), 'the channels are in another order')
  assert.ok(!surfaceIn(2).locate({ x: 0, y: 0, width: 4, height: 4 }, spans), 'outside')
  blob.detach()
  assert.ok(!surfaceIn(2).locate(rect, spans), 'detached')
})

test('whole rows without gaps are one span, in the host copy too', () => {
  const format = pixelFormat(1)
  assert.ok(format)
  const resource = new Resource2d(1, packedLayout(4, 4, format))
  resource.shadow.set([1, 2, 3], 16)
  const surface = new ResourceSurface(resource, resource.layout, { x: 0, y: 0, width: 4, height: 4 })
  const spans = new SpanList()
  assert.ok(surface.locate({ x: 0, y: 1, width: 4, height: 2 }, spans))
  assert.deepEqual([spans.count, spans.offsets[0], spans.lengths[0]], [1, 16, 32])
  assert.deepEqual([...spans.regions[0].u8.subarray(16, 20)], [1, 2, 3, 0])
  resource.release()
  assert.ok(!surface.locate({ x: 0, y: 1, width: 4, height: 2 }, new SpanList()))
})

test('reading outside the surface, or into a target without room, copies nothing and does not throw', () => {
  const format = pixelFormat(2)
  assert.ok(format)
  const whole = { x: 0, y: 0, width: 4, height: 4 }
  const image = packedLayout(4, 4, format)
  const surface = new ResourceSurface(blobOver(new Uint8Array(64).fill(7)), image, whole)
  const target = new Uint8Array(64)
  for (const [x, y, width, height, offset, stride, length] of [
    [0, 0, 5, 4, 0, 20, 64],
    [-1, 0, 4, 4, 0, 16, 64],
    [0, 1, 4, 4, 0, 16, 64],
    [0, 0, 0, 0, 0, 16, 64],
    [Number.NaN, 0, 1, 1, 0, 16, 64],
    [0, 0, 4, 4, 1, 16, 64],
    [0, 0, 4, 4, -1, 16, 64],
    [0, 0, 4, 4, 0, 15, 64],
    [0, 0, 4, 4, 0, 17, 64],
    [0, 0, 4, 4, 0, 16, 63],
    [0, 0, 4, 4, Number.NaN, 16, 64],
  ]) {
    assert.equal(surface.read({ x, y, width, height }, target.subarray(0, length), offset, stride), 0)
  }
  assert.ok(target.every((byte) => byte === 0))
  assert.equal(surface.read(whole, target, 0, 16), 64)
  assert.equal(surface.bytesRead, 64)
})

test('any rectangle of a surface with several planes equals that part of the whole surface', () => {
  const numbers = fc.record({
    format: fc.constantFrom(7, 14, 15, 163, 165, 166, 167, 314),
    width: fc.integer({ min: 1, max: 11 }),
    height: fc.integer({ min: 1, max: 7 }),
    gaps: fc.array(fc.nat(5), { minLength: 6, maxLength: 6 }),
    shown: fc.tuple(fc.nat(10), fc.nat(6)),
    rect: fc.tuple(fc.nat(10), fc.nat(6), fc.integer({ min: 1, max: 11 }), fc.integer({ min: 1, max: 7 })),
  })
  fc.assert(
    fc.property(numbers, ({ format, width, height, gaps, shown: [left, top], rect: [x, y, w, h] }) => {
      fc.pre(left < width && top < height && left + x < width && top + y < height)
      const code = blobFormat(format)
      assert.ok(code)
      const planes: PlaneLayout[] = []
      let end = 0
      for (const [i, shape] of (planesOf(code.fourcc) ?? []).entries()) {
        const stride = planeRowBytes(shape, width) + gaps[2 * i]
        planes.push({ offset: end + gaps[2 * i + 1], stride })
        end += gaps[2 * i + 1] + stride * planeRows(shape, height)
      }
      const blob = blobOver(Uint8Array.from({ length: 4 * Math.ceil(end / 4) }, (_, i) => (i * 37 + (i >> 3)) & 0xff))
      const image = { ...packedLayout(width, height, code), planes }
      const read = (surface: ResourceSurface, part: Rect) => {
        const target = new Uint8Array(4 * part.width * part.height)
        assert.equal(surface.read(part, target, 0, 4 * part.width), target.length)
        return new Uint32Array(target.buffer)
      }
      const all = { x: 0, y: 0, width, height }
      const whole = read(new ResourceSurface(blob, image, all), all)
      // Rows are read one by one, so that none is left from the row before.
      for (let row = 0; row < height; row++) {
        const alone = read(new ResourceSurface(blob, image, all), { ...all, y: row, height: 1 })
        assert.deepEqual(alone, whole.slice(row * width, (row + 1) * width))
      }
      const part = { x, y, width: Math.min(w, width - left - x), height: Math.min(h, height - top - y) }
      const source = { x: left, y: top, width: width - left, height: height - top }
      const seen = read(new ResourceSurface(blob, image, source), part)
      for (let row = 0; row < part.height; row++) {
        const from = (top + y + row) * width + left + x
        const wanted = whole.slice(from, from + part.width)
        assert.deepEqual(seen.slice(row * part.width, (row + 1) * part.width), wanted)
      }
    }),
  )
})

test('a row of which a plane is missing is black, not green', () => {
  const format = blobFormat(166)
  assert.ok(format)
  const image = {
    ...packedLayout(4, 4, format),
    planes: [
      { offset: 0, stride: 4 },
      { offset: 16, stride: 4 },
    ],
  }
  const all = { x: 0, y: 0, width: 4, height: 4 }
  // The second row of chroma is missing.
  const surface = new ResourceSurface(blobOver(new Uint8Array(20).fill(128)), image, all)
  const target = new Uint8Array(64).fill(0xee)
  assert.equal(surface.read(all, target, 0, 16), 32)
  assert.deepEqual([target[0], target[31]], [130, 255])
  assert.deepEqual([...target.subarray(32)], Array(32).fill(0))
  assert.ok(!surface.locate(all, new SpanList()))
})
