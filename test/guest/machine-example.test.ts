import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { I386_IMAGE } from '../../src/catalogue/guest-images.ts'
import { createV86Machine } from '../../src/engines/v86/machine.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import { guestMissing } from './guest.ts'

const EXAMPLE = fileURLToPath(new URL('../../examples/machine-with-device.js', import.meta.url))
const skip = guestMissing('v86') ?? false

test('the machine example reads from its own device', { skip }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [EXAMPLE])
  assert.match(stdout, /^00000000 +04 04 04 04 04 04 04 04 /)
})

test('a module without a device makes start reject with the reason', { skip }, async () => {
  const image = findGuestImage(I386_IMAGE)
  assert.ok(image)
  const module = new URL('./guest.js', import.meta.url)
  const machine = createV86Machine({ ...image, devices: [module] })
  await assert.rejects(machine.start(), { message: `${module} must export a function as its default` })
  await machine.stop()
})
