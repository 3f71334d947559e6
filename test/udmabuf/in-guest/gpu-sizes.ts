import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDescriptors, PAGE } from '../../../src/backends/buffers/testing/test-memory.ts'
import { BlobFlag, GpuResponse } from '../../../src/devices/virtio/gpu/protocol.ts'
import { GpuGuest } from './gpu-guest.ts'
import { withLimit } from './kernel.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY } = GpuResponse
const UHD = { width: 3840, height: 2160 }
const UHD2 = { width: 7680, height: 4320 }
/** No bit of the specification's. */
const HANDLES = 50

function pagesOf({ width, height }: { readonly width: number; readonly height: number }): number {
  return (width * height * 4) / PAGE
}

/** What a guest's screen is that has one picture in pieces of so many pages, and asked for it to be shared. */
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

test('a guest’s 4K screen of 8,100 single pages is a linear view, and says which limit stands against more', async () => {
  const linear = await shown(UHD, 1)
  assert.deepEqual([linear.path, linear.problem], ['linear', 'too-many-pieces'])
  assert.match(
    `${linear.reason}`,
    /resource 1 is in 8100 pieces, and the driver takes 1024: write 8100 to .*list_limit/,
  )
  assert.deepEqual((await shown(UHD, 8)).path, 'dma-buf')
  await withLimit('list_limit', 8100, async () => assert.equal((await shown(UHD, 1)).path, 'dma-buf'))
})

test('a guest’s 8K screen is a linear view, and says which limit stands against more', async () => {
  const linear = await shown(UHD2, pagesOf(UHD2))
  assert.deepEqual([linear.path, linear.problem], ['linear', 'too-large'])
  assert.match(`${linear.reason}`, /has 132710400 bytes, and the driver takes 67108864: write 127 to .*size_limit_mb/)
  await withLimit('size_limit_mb', 127, async () => {
    assert.equal((await shown(UHD2, pagesOf(UHD2))).path, 'dma-buf')
    assert.equal((await shown(UHD2, 2)).problem, 'too-many-pieces')
  })
})

test('a guest’s 8K picture of 32,400 single pages is in more pieces than the GPU takes, whatever the driver does', async () => {
  const guest = new GpuGuest()
  assert.equal(guest.createBlob(1, guest.scatter(pagesOf(UHD2))), ERR_OUT_OF_MEMORY)
  assert.deepEqual([[...guest.buffers.buffers], guest.gpu.inspect().resources.count], [[], 0])
  await guest.close()
})

test('a handle that cannot be made fails the command that asks for it, and leaves nothing', async () => {
  const guest = new GpuGuest({ guestHandleFeature: HANDLES })
  const before = openDescriptors()
  const scattered = guest.scatter(pagesOf(UHD))
  const create = (id: number) => guest.createBlob(id, scattered, BlobFlag.CREATE_GUEST_HANDLE)
  assert.equal(create(1), ERR_UNSPEC)
  assert.deepEqual([[...guest.buffers.buffers], guest.dmaBufs, openDescriptors()], [[], 0, before])
  // Its number is free, and with the limit raised it is had.
  await withLimit('list_limit', 8100, () => assert.equal(create(1), OK_NODATA))
  assert.equal(guest.buffer.kind, 'dma-buf')
  await guest.close()
})
