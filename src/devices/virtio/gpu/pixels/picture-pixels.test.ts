import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Picture } from '../../../../services/picture.ts'
import { fourccName, fourccOf } from './image-planes.ts'
import { picturePixels } from './picture-pixels.ts'

const PICTURE: Picture = {
  width: 2,
  height: 2,
  fourcc: fourccOf('XR24'),
  modifier: 0n,
  planes: [{ offset: 4, stride: 12 }],
}
const RECT = { x: 1, y: 0, width: 1, height: 2 }
const BYTES = Uint8Array.from({ length: 24 }, (_, i) => i)

test('a part of a picture is copied out of its bytes, in the order of displays', () => {
  assert.deepEqual(picturePixels(BYTES, PICTURE, RECT), Uint8Array.of(8, 9, 10, 11, 20, 21, 22, 23))
  const other = picturePixels(BYTES, { ...PICTURE, fourcc: fourccOf('XB24') }, RECT)
  assert.deepEqual(other, Uint8Array.of(10, 9, 8, 11, 22, 21, 20, 23))
})

test('pixels that cannot be had have a reason', () => {
  const cases: [Picture, RegExp][] = [
    [{ ...PICTURE, fourcc: fourccOf('QQ12') }, /format QQ12/],
    [{ ...PICTURE, modifier: 0x100_0000_0000_0001n }, /modifier 0x100000000000001/],
    [{ ...PICTURE, planes: [{ offset: 8, stride: 12 }] }, /does not fit in 24 bytes/],
    [{ ...PICTURE, width: 1 }, /must lie within 1x\d+ pixels/],
  ]
  for (const [picture, says] of cases) {
    const outcome = picturePixels(BYTES, picture, RECT)
    assert.ok('reason' in outcome)
    assert.match(outcome.reason, says)
  }
})

test('a format is called by its four characters, and by its number where they are none', () => {
  assert.equal(fourccName(fourccOf('NV12')), 'NV12')
  assert.equal(fourccName(fourccOf('R8  ')), 'R8')
  assert.equal(fourccName(0x7), '0x00000007')
})
