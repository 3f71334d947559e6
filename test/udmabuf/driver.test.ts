import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GuestKit, KitError, prepareKit } from '../../src/engines/kit/kit.ts'
import { findQemus, type Qemu } from '../../src/engines/qemu/qemu.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { runInGuest } from './driver-guest.ts'
import { UDMABUF_KIT } from './kit.ts'

const NEEDED = ['virtio-9p-pci', 'virtio-gpu-pci', 'virtserialport']

test('the real driver, on a kernel that has it', async (context) => {
  const missing = ffiMissing() ?? (process.arch === 'x64' ? undefined : 'this machine’s Node is none for the guest')
  const qemu = await suitableQemu()
  const kit = await kitOrReason()
  if (missing !== undefined || !qemu || typeof kit === 'string') {
    context.skip(missing ?? (typeof kit === 'string' ? kit : `there is no QEMU with ${NEEDED.join(', ')}`))
    return
  }
  const { results, status, said } = await runInGuest({
    ...{ qemu, kit, memoryMiB: 1536 },
    tests: new URL('./in-guest/all.js', import.meta.url),
  })
  for (const { name, failure, skipped } of results) {
    await context.test(name, (inner) => {
      if (skipped !== undefined) inner.skip(skipped)
      if (failure !== undefined) assert.fail(failure)
    })
  }
  assert.equal(status, results.some(({ failure }) => failure !== undefined) ? 1 : 0, said)
  assert.ok(results.length > 0, said)
})

/** The newest there is. */
async function suitableQemu(): Promise<Qemu | undefined> {
  return (await findQemus()).findLast(({ devices }) => NEEDED.every((device) => devices.has(device)))
}

async function kitOrReason(): Promise<GuestKit | string> {
  try {
    return await prepareKit(UDMABUF_KIT)
  } catch (error) {
    if (error instanceof KitError) return error.message
    throw error
  }
}
