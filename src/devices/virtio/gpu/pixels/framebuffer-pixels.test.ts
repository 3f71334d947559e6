import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FramebufferLayout } from '../../../../services/framebuffer-layout.ts'
import { framebufferPixels } from './framebuffer-pixels.ts'
import { fourccName, fourccOf } from './image-planes.ts'

const LAYOUT: FramebufferLayout = {
  width: 2,
  height: 2,
  fourcc: fourccOf('XR24'),
  modifier: 0n,
  planes: [{ offset: 4, stride: 12 }],
}
const RECT = { x: 1, y: 0, width: 1, height: 2 }
const BYTES = Uint8Array.from({ length: 24 }, (_, i) => i)

test('a rectangle of a framebuffer is copied as B, G, R, X', () => {
  assert.deepEqual(framebufferPixels(BYTES, LAYOUT, RECT), Uint8Array.of(8, 9, 10, 11, 20, 21, 22, 23))
  const other = framebufferPixels(BYTES, { ...LAYOUT, fourcc: fourccOf('XB24') }, RECT)
  assert.deepEqual(other, Uint8Array.of(10, 9, 8, 11, 22, 21, 20, 23))
})

test('a framebuffer that cannot be read returns a reason', () => {
  const cases: [FramebufferLayout, RegExp][] = [
    [{ ...LAYOUT, fourcc: fourccOf('QQ12') }, /format QQ12/],
    [{ ...LAYOUT, modifier: 0x100_0000_0000_0001n }, /modifier 0x100000000000001/],
    [{ ...LAYOUT, planes: [{ offset: 8, stride: 12 }] }, /does not fit in 24 bytes/],
    [{ ...LAYOUT, width: 1 }, /must lie within 1x\d+ pixels/],
  ]
  for (const [layout, expected] of cases) {
    const outcome = framebufferPixels(BYTES, layout, RECT)
    assert.ok('reason' in outcome)
    assert.match(outcome.reason, expected)
  }
})

test('the name of a format is its four characters, or its number if they are not printable', () => {
  assert.equal(fourccName(fourccOf('NV12')), 'NV12')
  assert.equal(fourccName(fourccOf('R8  ')), 'R8')
  assert.equal(fourccName(0x7), '0x00000007')
})
