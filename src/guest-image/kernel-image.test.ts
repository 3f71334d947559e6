import assert from 'node:assert/strict'
import { test } from 'node:test'
import { repackKernel } from './kernel-image.ts'
import { elfFile } from './testing/elf-file.ts'

const FIRST = new TextEncoder().encode('first segment')
/** A call and a jump, whose distances the compressor's filter changes. */
const SECOND = Uint8Array.of(0xe8, 0, 0, 0, 0, 0xc3, 0xe8, 0x10, 0, 0, 0)
const ELF = elfFile({
  entry: 0x10_0234,
  segments: [
    { physicalAddress: 0x10_0100, content: FIRST },
    { physicalAddress: 0x10_0200, content: SECOND },
  ],
})
/** That ELF file, packed with `xz --check=crc32 --x86 --lzma2=dict=4KiB`. */
const PAYLOAD = Buffer.from(
  '/Td6WFoAAAFpIt42AgEEACEBAADaM60D4AC+AFtdAD+RRYRoO97eu+9g3IT0mg70QqO6SBD+sQO4FZK+luWQgSvzx9vqJd7sMgK0b6B5Yswt' +
    'PSDsJXyKZI2MfIDzOA6hHftxNezSc019iVhPX0nQhQJCXZlCEKJyHAAAAK1zH5cAAXO/AQAAABJTyGQ+MA2LAgAAAAABWVo=',
  'base64',
)

const SETUP_SECTORS = 2
const PAYLOAD_OFFSET = 0x40

/** A bzImage: boot sector and set-up sectors, then the protected-mode code with the payload and its unpacked size. */
function bzImage(payload: Uint8Array): Uint8Array {
  const setup = 512 * (SETUP_SECTORS + 1)
  const image = new Uint8Array(setup + PAYLOAD_OFFSET + payload.length + 4)
  const view = new DataView(image.buffer)
  image.fill(0xaa, 0, 0x1f1)
  image[0x1f1] = SETUP_SECTORS
  view.setUint32(0x1f4, 0x1234, true)
  view.setUint32(0x202, 0x48647253)
  view.setUint16(0x206, 0x020f, true)
  view.setUint32(0x248, PAYLOAD_OFFSET, true)
  view.setUint32(0x24c, payload.length + 4, true)
  image.set(payload, setup + PAYLOAD_OFFSET)
  view.setUint32(setup + PAYLOAD_OFFSET + payload.length, ELF.length, true)
  return image
}

test('a repacked kernel jumps to the entry and has each segment at its address', async () => {
  const original = bzImage(PAYLOAD)
  const image = await repackKernel(original)
  const code = 512 * (SETUP_SECTORS + 1)
  const at = (address: number, length: number): Uint8Array =>
    image.subarray(code + address - 0x10_0000, code + address - 0x10_0000 + length)

  const changed = image.slice(0, code)
  assert.equal(new DataView(changed.buffer).getUint32(0x1f4, true) * 16, image.length - code)
  changed.set(original.subarray(0x1f4, 0x1f8), 0x1f4)
  assert.deepEqual(changed, original.subarray(0, code), 'only the size in the set-up code differs')

  assert.deepEqual(at(0x10_0000, 8), Uint8Array.of(0xb8, 0x34, 0x02, 0x10, 0x00, 0xff, 0xe0, 0))
  assert.deepEqual(at(0x10_0100, FIRST.length), FIRST)
  assert.deepEqual(at(0x10_0200, SECOND.length), SECOND)
  assert.equal(image.length, code + 0x210)
})

test('files other than a bzImage with an xz payload are refused with a reason', async () => {
  await assert.rejects(repackKernel(new Uint8Array(4096)), /not a bzImage/)
  await assert.rejects(repackKernel(bzImage(PAYLOAD).subarray(0, 1600)), /is truncated/)
  await assert.rejects(repackKernel(bzImage(new TextEncoder().encode('gzip'.repeat(20)))), /not compressed with xz/)
  const old = bzImage(PAYLOAD)
  new DataView(old.buffer).setUint16(0x206, 0x0207, true)
  await assert.rejects(repackKernel(old), /not a bzImage/)
})
