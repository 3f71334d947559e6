import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { createEdid } from './edid.ts'

const DECODER = 'edid-decode'
const noDecoder = spawnSync(DECODER, ['--help']).error ? 'there is no edid-decode: apt-get install edid-decode' : false

const SIZES: readonly (readonly [width: number, height: number])[] = [
  [64, 64],
  [333, 777],
  [1024, 768],
  [1366, 768],
  [1920, 1080],
  [3840, 2160],
  [4095, 2160],
  [4096, 2160],
  [4095, 4095],
  [7680, 4320],
  [64, 16384],
  [16384, 16384],
]

/** The first detailed timing of the base block. */
function firstTiming(edid: Uint8Array): { width: number; height: number; clock: number } {
  const timing = edid.subarray(54, 72)
  return {
    clock: (timing[0] | (timing[1] << 8)) * 10_000,
    width: timing[2] | ((timing[4] & 0xf0) << 4),
    height: timing[5] | ((timing[7] & 0xf0) << 4),
  }
}

test('an EDID of any size consists of blocks of 128 bytes whose sums are 0', () => {
  const side = fc.integer({ min: 64, max: 16384 })
  fc.assert(
    fc.property(side, side, (width, height) => {
      const edid = createEdid({ width, height, serial: 1 })
      assert.equal(edid.length, 128 * (1 + edid[126]))
      for (let block = 0; block < edid.length; block += 128) {
        assert.equal(edid.subarray(block, block + 128).reduce((sum, byte) => sum + byte, 0) & 0xff, 0)
      }
    }),
  )
})

test('a size that fits the base block is its first detailed timing, at 58 to 60 Hz', () => {
  const edid = createEdid({ width: 1366, height: 768, serial: 1 })
  assert.equal(edid.length, 128)
  // CVT with reduced blanking: 1366 + 160 pixels by 768 + 22 lines.
  assert.deepEqual(firstTiming(edid), { width: 1366, height: 768, clock: 72_250_000 })
})

test('a size or a clock that does not fit the base block is the preferred timing of a DisplayID block', () => {
  for (const [width, height] of [
    [4096, 64],
    [64, 4096],
    [4000, 4000],
  ]) {
    const edid = createEdid({ width, height, serial: 1 })
    assert.equal(edid.length, 256)
    assert.equal(edid[128], 0x70)
    assert.deepEqual(firstTiming(edid), { width: 1024, height: 768, clock: 56_000_000 })
    const at = 128 + 5 + 15 + 15 + 3
    assert.equal(edid[at + 3] & 0x80, 0x80)
    const view = new DataView(edid.buffer)
    assert.deepEqual([view.getUint16(at + 4, true) + 1, view.getUint16(at + 12, true) + 1], [width, height])
  }
})

test('an EDID has the name of the monitor, its serial number, and a size in proportion', () => {
  const edid = createEdid({ width: 1920, height: 1080, serial: 3 })
  const text = String.fromCharCode(...edid)
  assert.ok(text.includes('\xfc\0Outboard\n    '))
  assert.ok(text.includes('\xff\x000003\n'))
  assert.equal(new DataView(edid.buffer).getUint32(12, true), 3)
  assert.deepEqual([edid[21], edid[22]], [51, 29])
})

for (const [width, height] of SIZES) {
  test(`edid-decode accepts ${width} by ${height}, as the preferred mode`, { skip: noDecoder }, () => {
    const input = createEdid({ width, height, serial: 1 })
    const checked = spawnSync(DECODER, ['--check', '-'], { input, encoding: 'utf8' })
    assert.equal(checked.status, 0, checked.stdout.slice(checked.stdout.indexOf('Warnings:')))
    assert.match(checked.stdout, /EDID conformity: PASS/)
    assert.doesNotMatch(checked.stdout, /Failures:/)
    assert.match(checked.stdout, new RegExp(`DTD(?: 1)?: +${width}x${height} +(?:59\\.\\d+|60\\.0+) Hz`))
  })
}
