import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { failureOfTinyGuest, kvmMissing } from '../../src/engines/qemu/accelerator.ts'
import { runProgram } from '../../src/guest-image/debian/program.ts'
import { findGuestImage, GuestImageError, prepareGuestImage } from '../../src/guest-image/guest-image.ts'
import { qemuTools, toolsMissing } from './device-program.ts'
import { qemu, qemuMissing } from './guest.ts'

test('a guest of one instruction runs in emulation', { skip: qemuMissing ?? false }, async () => {
  const { program, version } = qemu()
  assert.equal(await failureOfTinyGuest(program, 'tcg'), undefined)
  assert.match(version, /^\d+\.\d+/)
  const missing = await kvmMissing(program)
  if (missing !== undefined) assert.doesNotMatch(missing, /\n/)
})

test('the tools can be run', { skip: toolsMissing ?? false }, async () => {
  const { img, io, storageDaemon } = qemuTools()
  for (const tool of [img, io, storageDaemon]) assert.match(await runProgram(tool, ['--version']), /version \d/)
})

test('the image for QEMU contains a 64-bit kernel and the drivers', async (context) => {
  const image = await prepareGuestImage(AMD64_IMAGE).catch((error: unknown) => {
    if (!(error instanceof GuestImageError)) throw error
    context.skip(error.message)
  })
  if (!image) return
  assert.deepEqual(findGuestImage(AMD64_IMAGE), image)
  const kernel = readFileSync(image.kernel)
  const version = kernel.subarray(0x200 + kernel.readUInt16LE(0x20e)).toString('latin1', 0, 80)
  assert.match(version, /^\d+\.\d+\.\d+\S*-amd64 /)
  const initrd = readFileSync(image.initrd)
  for (const driver of ['blk', 'rng', 'gpu', 'input', 'net'])
    assert.ok(initrd.includes(`/virtio_${driver}.ko\0`), driver)
  for (const file of ['init', 'sbin/command-agent', 'bin/busybox', 'usr/bin/fallocate'])
    assert.ok(initrd.includes(`${file}\0`), file)
  assert.ok(!initrd.includes('~Module signature appended~'))
})
