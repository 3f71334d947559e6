import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { blobFormat } from './pixel-format.ts'
import type { PlaneRow } from './row-converter.ts'

function rowOf(bytes: readonly number[]): PlaneRow {
  const { buffer } = Uint32Array.from({ length: Math.ceil(bytes.length / 4) })
  new Uint8Array(buffer).set(bytes)
  return { u8: new Uint8Array(buffer), u16: new Uint16Array(buffer), u32: new Uint32Array(buffer) }
}

/** The first pixels of a row, as [red, green, blue, fourth byte]. */
function convert(code: number, rows: readonly (readonly number[])[], pixels: number, phase = 0): number[][] {
  const words = new Uint32Array(pixels)
  const format = blobFormat(code)
  assert.ok(format?.convert)
  format.convert(rows.map(rowOf), phase, words, pixels)
  const target = new Uint8Array(words.buffer)
  return Array.from({ length: pixels }, (_, i) => [
    target[4 * i + 2],
    target[4 * i + 1],
    target[4 * i],
    target[4 * i + 3],
  ])
}

test('luma 16 is black, 235 is white, and values beyond are clipped', () => {
  const NV12 = 166
  const luma = [0, 15, 16, 17, 234, 235, 236, 255]
  const chroma = luma.map(() => 128)
  const levels = convert(NV12, [luma, chroma], luma.length)
  assert.deepEqual(
    levels.map(([red]) => red),
    [0, 0, 0, 1, 254, 255, 255, 255],
  )
  for (const [red, green, blue, rest] of levels) assert.deepEqual([green, blue, rest], [red, red, 255])
})

test('the colours of a test image are those of BT.601', () => {
  for (const [y, cb, cr, colour] of [
    [81, 90, 240, [254, 0, 0]],
    [145, 54, 34, [0, 255, 1]],
    [41, 240, 110, [0, 0, 255]],
    [210, 16, 146, [255, 255, 0]],
    [170, 166, 16, [0, 255, 255]],
    [106, 202, 222, [255, 0, 255]],
  ] as const) {
    const [pixel] = convert(166, [[y], [cb, cr]], 1)
    for (const [i, value] of colour.entries()) assert.ok(Math.abs(pixel[i] - value) <= 1, `${pixel} for ${colour}`)
  }
})

test('any colour is within 1.5 steps of the definition', () => {
  const byte = fc.integer({ min: 0, max: 255 })
  fc.assert(
    fc.property(byte, byte, byte, (y, cb, cr) => {
      const [pixel] = convert(166, [[y], [cb, cr]], 1)
      const luma = (255 / 219) * (y - 16)
      const exact = [
        luma + (255 / 224) * 1.402 * (cr - 128),
        luma - (255 / 224) * (0.344136 * (cb - 128) + 0.714136 * (cr - 128)),
        luma + (255 / 224) * 1.772 * (cb - 128),
      ]
      for (const [i, value] of exact.entries()) {
        assert.ok(Math.abs(pixel[i] - Math.min(255, Math.max(0, value))) <= 1.5, `${pixel} for ${exact}`)
      }
    }),
  )
})

test('every format reads its samples from its planes in its order', () => {
  // Four pixels: luma 60, 90, 120, 150; the first two have chroma 100 and 200, the others 140 and 50.
  const luma = [60, 90, 120, 150]
  const wanted = convert(166, [luma, [100, 200, 140, 50]], 4)
  const wide = (bytes: readonly number[]) => bytes.flatMap((byte) => [0, byte])
  for (const [name, code, rows] of [
    ['NV21', 167, [luma, [200, 100, 50, 140]]],
    ['IYUV', 165, [luma, [100, 140], [200, 50]]],
    ['YV12', 163, [luma, [200, 50], [100, 140]]],
    ['P010', 314, [wide(luma), wide([100, 200, 140, 50])]],
    ['YUYV', 15, [[60, 100, 90, 200, 120, 140, 150, 50]]],
    ['UYVY', 14, [[100, 60, 200, 90, 140, 120, 50, 150]]],
  ] as const) {
    assert.deepEqual(convert(code, rows, 4), wanted, name)
  }
})

test('a row may begin with the second of two pixels that share a chroma sample', () => {
  const whole = convert(
    166,
    [
      [60, 90, 120, 150],
      [100, 200, 140, 50],
    ],
    4,
  )
  const wide = (bytes: readonly number[]) => bytes.flatMap((byte) => [0, byte])
  for (const [name, code, rows] of [
    [
      'NV12',
      166,
      [
        [90, 120, 150],
        [100, 200, 140, 50],
      ],
    ],
    [
      'IYUV',
      165,
      [
        [90, 120, 150],
        [100, 140],
        [200, 50],
      ],
    ],
    ['P010', 314, [wide([90, 120, 150]), wide([100, 200, 140, 50])]],
    ['YUYV', 15, [[60, 100, 90, 200, 120, 140, 150, 50]]],
    ['UYVY', 14, [[100, 60, 200, 90, 140, 120, 50, 150]]],
  ] as const) {
    assert.deepEqual(convert(code, rows, 3, 1), whole.slice(1), name)
  }
})

test('10-bit samples keep their lower two bits', () => {
  const sample = (value: number) => [(value << 6) & 0xff, value >>> 2]
  const levels = [64, 65, 66, 67, 68].map((y) => convert(314, [sample(y), [...sample(512), ...sample(512)]], 1)[0][0])
  assert.deepEqual(levels, [0, 0, 1, 1, 1])
})
