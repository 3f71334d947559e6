import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planesOf } from './image-planes.ts'
import { blobFormat, pixelFormat } from './pixel-format.ts'
import type { PlaneRow } from './row-converter.ts'

/** DRM's names of drm_fourcc.h, which name words from their highest byte. */
const SAME = {
  1: 'AR24',
  2: 'XR24',
  3: 'BA24',
  4: 'BX24',
  67: 'AB24',
  68: 'RX24',
  121: 'RA24',
  134: 'XB24',
}
const BLOBS_ONLY = {
  7: 'RG16',
  8: 'AB30',
  14: 'UYVY',
  15: 'YUYV',
  131: 'AR30',
  163: 'YV12',
  165: 'YU12',
  166: 'NV12',
  167: 'NV21',
  233: 'XR30',
  308: 'XB30',
  314: 'P010',
}

function letters(fourcc: number | undefined): string {
  return String.fromCharCode(...[0, 8, 16, 24].map((shift) => ((fourcc ?? 0) >>> shift) & 0xff))
}

test('formats of the specification are those of DRM with the bytes in the other order  @virtio 5.7.6.8', () => {
  for (const [code, name] of Object.entries(SAME)) {
    assert.equal(letters(pixelFormat(Number(code))?.fourcc), name)
    assert.equal(blobFormat(Number(code)), pixelFormat(Number(code)))
  }
})

test('blobs support further formats, all with known planes, and no other numbers', () => {
  for (let code = 0; code < 400; code++) {
    const name = { ...SAME, ...BLOBS_ONLY }[code as keyof typeof SAME | keyof typeof BLOBS_ONLY]
    const format = blobFormat(code)
    assert.equal(format && letters(format.fourcc), name)
    if (format) assert.ok(planesOf(format.fourcc))
    if (!(code in SAME)) assert.equal(pixelFormat(code), undefined)
  }
})

function convertWord(code: number, word: number): number[] {
  const target = new Uint32Array(1)
  const u32 = Uint32Array.of(word)
  const row: PlaneRow = { u8: new Uint8Array(u32.buffer), u16: new Uint16Array(u32.buffer), u32 }
  blobFormat(code)?.convert?.([row], 0, target, 1)
  return [...new Uint8Array(target.buffer)]
}

test('5-bit and 6-bit channels are scaled to 8 bits: the maximum becomes 255', () => {
  for (const [word, pixel] of [
    [0x0000, [0, 0, 0, 255]],
    [0xffff, [255, 255, 255, 255]],
    [0x001f, [255, 0, 0, 255]],
    [0x07e0, [0, 255, 0, 255]],
    [0xf800, [0, 0, 255, 255]],
    [0x8410, [132, 130, 132, 255]],
  ] as const) {
    assert.deepEqual(convertWord(7, word), pixel)
  }
})

test('10-bit channels keep their upper 8 bits, and the fourth byte is 255', () => {
  const word = (high: number, middle: number, low: number) => ((3 << 30) | (high << 20) | (middle << 10) | low) >>> 0
  for (const code of [131, 233]) assert.deepEqual(convertWord(code, word(0x3ff, 0x200, 0x007)), [1, 128, 255, 255])
  for (const code of [8, 308]) assert.deepEqual(convertWord(code, word(0x3ff, 0x200, 0x007)), [255, 128, 1, 255])
})
