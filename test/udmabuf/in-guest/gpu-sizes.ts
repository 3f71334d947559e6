import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDescriptors, PAGE } from '../../../src/backends/buffers/testing/test-memory.ts'
import { BlobFlag, GpuResponse } from '../../../src/devices/virtio/gpu/protocol.ts'
import { GpuGuest } from './gpu-guest.ts'
import { withLimit } from './kernel.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY } = GpuResponse
const UHD = { width: 3840, height: 2160 }
const UHD2 = { width: 7680, height: 4320 }
/** A feature bit that the specification does not define. */
const HANDLES = 50

function pagesOf({ width, height }: { readonly width: number; readonly height: number }): number {
  return (width * height * 4) / PAGE
}

/**
 * Shows a shareable blob in pieces of `piece` pages.
 * @returns path and reason of the surface, and problem of the buffer
 */
async function shown(size: typeof UHD, piece: number) {
  const guest = new GpuGuest()
  try {
    assert.equal(guest.createBlob(1, guest.scatter(pagesOf(size), piece)), OK_NODATA)
    assert.equal(guest.gpu.setScanoutBlob(0, 1, size).type, OK_NODATA)
    const surface = guest.gpu.display.surfaces[0]
    return { path: surface?.path, reason: surface?.reason, problem: guest.buffer.inspect().problem }
  } finally {
    await guest.close()
  }
}

test('a 4K surface of 8,100 single pages is a linear buffer, and its reason names the driver limit', async () => {
  const linear = await shown(UHD, 1)
  assert.deepEqual([linear.path, linear.problem], ['linear', 'too-many-pieces'])
  assert.match(
    `${linear.reason}`,
    /resource 1 is in 8100 pieces, and the driver takes 1024: write 8100 to .*list_limit/,
  )
  assert.deepEqual((await shown(UHD, 8)).path, 'dma-buf')
  await withLimit('list_limit', 8100, async () => assert.equal((await shown(UHD, 1)).path, 'dma-buf'))
})

test('an 8K surface is a linear buffer, and its reason names the limit of the driver', async () => {
  const linear = await shown(UHD2, pagesOf(UHD2))
  assert.deepEqual([linear.path, linear.problem], ['linear', 'too-large'])
  assert.match(`${linear.reason}`, /has 132710400 bytes, and the driver takes 67108864: write 127 to .*size_limit_mb/)
  await withLimit('size_limit_mb', 127, async () => {
    assert.equal((await shown(UHD2, pagesOf(UHD2))).path, 'dma-buf')
    assert.equal((await shown(UHD2, 2)).problem, 'too-many-pieces')
  })
})

test('an 8K blob of 32,400 single pages exceeds the limit of the GPU', async () => {
  const guest = new GpuGuest()
  assert.equal(guest.createBlob(1, guest.scatter(pagesOf(UHD2))), ERR_OUT_OF_MEMORY)
  assert.deepEqual([[...guest.buffers.buffers], guest.gpu.inspect().resources.count], [[], 0])
  await guest.close()
})

test('CREATE_GUEST_HANDLE fails if no dma-buf can be made, and leaves nothing', async () => {
  const guest = new GpuGuest({ guestHandleFeature: HANDLES })
  const before = openDescriptors()
  const scattered = guest.scatter(pagesOf(UHD))
  const create = (id: number) => guest.createBlob(id, scattered, BlobFlag.CREATE_GUEST_HANDLE)
  assert.equal(create(1), ERR_UNSPEC)
  assert.deepEqual([[...guest.buffers.buffers], guest.dmaBufs, openDescriptors()], [[], 0, before])
  // The resource id is free, and with a higher limit the command succeeds.
  await withLimit('list_limit', 8100, () => assert.equal(create(1), OK_NODATA))
  assert.equal(guest.buffer.kind, 'dma-buf')
  await guest.close()
})
