import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fourccOf, liesWithin, planesOf } from './image-planes.ts'

const NV12 = fourccOf('NV12')
const LINEAR = 0n
/** Modifiers of AMD and Intel, and an unknown one. */
const TILED = [0x0200_0000_0000_1b01n, 0x0100_0000_0000_0009n, 0x00ff_ffff_ffff_ffffn]

test('a fourcc is four characters, the first in the lowest byte', () => {
  assert.equal(fourccOf('XR24'), 0x3432_5258)
  assert.equal(fourccOf('R8  '), 0x2020_3852)
})

test('every row of every plane of a linear framebuffer must lie within the buffer and within its stride', () => {
  // 5 by 3 pixels of NV12: luma 5 bytes a row, 3 rows; chroma 6 bytes a row, 2 rows.
  const nv12 = (luma: [offset: number, stride: number], chroma: [offset: number, stride: number]) => ({
    width: 5,
    height: 3,
    fourcc: NV12,
    modifier: LINEAR,
    planes: [luma, chroma].map(([offset, stride]) => ({ offset, stride })),
  })
  assert.ok(liesWithin(nv12([0, 8], [24, 8]), 38))
  assert.ok(!liesWithin(nv12([0, 8], [24, 8]), 37), 'the last byte of the last row is outside')
  assert.ok(!liesWithin(nv12([0, 4], [24, 8]), 64), 'luma rows overlap')
  assert.ok(!liesWithin(nv12([0, 8], [24, 5]), 64), 'chroma rows overlap')
  assert.ok(!liesWithin(nv12([44, 8], [24, 8]), 64), 'luma ends outside')
  assert.ok(liesWithin(nv12([14, 8], [0, 8]), 35), 'planes may come in any order')
  assert.ok(!liesWithin({ ...nv12([0, 8], [24, 8]), height: 0 }, 64))
  assert.ok(!liesWithin({ ...nv12([0, 8], [24, 8]), fourcc: fourccOf('XR24') }, 64), 'XR24 has one plane')
  assert.ok(!liesWithin({ ...nv12([0, 8], [24, 8]), fourcc: fourccOf('ABCD') }, 64), 'the format is unknown')
})

test('with a modifier that is not linear, only the offsets of planes are checked', () => {
  for (const modifier of TILED) {
    const layout = { width: 64, height: 64, fourcc: fourccOf('XR24'), modifier, planes: [{ offset: 0, stride: 256 }] }
    assert.ok(liesWithin(layout, 4096), 'it may be compressed')
    assert.ok(liesWithin({ ...layout, fourcc: fourccOf('ABCD') }, 4096), 'and its format may be unknown')
    const withMore = (offset: number) => ({ ...layout, planes: [...layout.planes, { offset, stride: 8 }] })
    assert.ok(liesWithin(withMore(4095), 4096))
    assert.ok(!liesWithin(withMore(4096), 4096))
    assert.ok(!liesWithin({ ...layout, planes: [] }, 4096))
    assert.ok(!liesWithin({ ...layout, planes: Array(5).fill({ offset: 0, stride: 256 }) }, 4096))
  }
})

test('the bounds check agrees with exact arithmetic for all 32-bit numbers', () => {
  const u32 = fc.oneof(
    fc.nat(64),
    fc.integer({ min: 0, max: 0xffff_ffff }),
    fc.constantFrom(0xffff_ffff, 0x8000_0000, 0),
  )
  const fourcc = fc.constantFrom('XR24', 'RG16', 'NV12', 'P010', 'YU12', 'YUYV', 'NV24', 'NV16').map(fourccOf)
  const size = fc.oneof(fc.nat(4096), fc.maxSafeNat())
  fc.assert(
    fc.property(fourcc, u32, u32, fc.array(fc.tuple(u32, u32), { minLength: 4, maxLength: 4 }), size, (...numbers) => {
      const [format, width, height, numbersOfPlanes, bytes] = numbers
      const shapes = planesOf(format) ?? []
      const planes = shapes.map((_, i) => ({ offset: numbersOfPlanes[i][0], stride: numbersOfPlanes[i][1] }))
      const exact = shapes.every((shape, i) => {
        const [offset, stride] = [BigInt(planes[i].offset), BigInt(planes[i].stride)]
        const up = (value: number, by: number) => (BigInt(value) + BigInt(by) - 1n) / BigInt(by)
        const row = up(width, shape.across) * BigInt(shape.bytes)
        return stride >= row && offset + (up(height, shape.down) - 1n) * stride + row <= BigInt(bytes)
      })
      const fits = liesWithin({ width, height, fourcc: format, modifier: LINEAR, planes }, bytes)
      assert.equal(fits, width > 0 && height > 0 && exact)
    }),
    { numRuns: 2000 },
  )
})
