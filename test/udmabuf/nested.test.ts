import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VFIO_USER } from '../../src/engines/qemu/front-ends.ts'
import { scratchFolder } from '../qemu/device-program.ts'
import { runInGuest } from './driver-guest.ts'
import { findMeans } from './means.ts'
import { makeNestedGuest } from './nested-guest.ts'

const folder = scratchFolder()

test('another driver of the host reads the framebuffer of an unmodified guest through a dma-buf', async (context) => {
  const means = await findMeans([VFIO_USER])
  if (typeof means === 'string') {
    context.skip(means)
    return
  }
  const { results, status, output } = await runInGuest({
    ...means,
    memoryMiB: 2560,
    tests: new URL('./in-guest/nested.js', import.meta.url),
    environment: { NESTED_GUEST: JSON.stringify(makeNestedGuest(means.qemu.program, means.image, folder)) },
    onLine: (line) => process.stdout.write(`${line}\n`),
  })
  assert.deepEqual([results.map(({ failure }) => failure), status], [[undefined], 0], output)
})
