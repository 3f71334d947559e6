import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { BlobFlag, BlobMem, GpuResponse } from '../../devices/virtio/gpu/protocol.ts'
import { GpuHeap } from '../../devices/virtio/gpu/resources/heap.ts'
import { ContextRig } from '../../devices/virtio/gpu/testing/context-rig.ts'
import type { Entry } from '../../devices/virtio/gpu/testing/gpu-rig.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { GuestBuffers } from './guest-buffers.ts'
import { HeapFiles } from './heap-files.ts'
import { openDescriptors, PAGE } from './testing/test-memory.ts'

const skip = ffiMissing() ?? false
const MEMORY_BYTES = 32 << 20
const PICTURES = 16 << 20
const PICTURE = { width: 64, height: 64 }
const PICTURE_PAGES = (64 * 64 * 4) / PAGE
const CONTEXT = 7

/** A GPU on a machine without the driver, whose guest's memory and heap are files. */
class LinearGuest {
  readonly memory = Mapping.of(MemoryFile.create('guest memory', MEMORY_BYTES).descriptor, {
    offset: 0,
    length: MEMORY_BYTES,
  })
  readonly heap = HeapFiles.create(1 << 20)
  readonly buffers = GuestBuffers.open({ device: '/dev/there-is-none' })
  readonly gpu = new ContextRig(
    { sharing: this.buffers, heap: new GpuHeap(this.heap), guestHandleFeature: 6 },
    { memory: this.memory.regions(0)[0] },
  )

  /** Every second page, from the last to the first. */
  get pages(): Entry[] {
    return Array.from({ length: PICTURE_PAGES }, (_, i) => ({
      address: PICTURES + 2 * (PICTURE_PAGES - 1 - i) * PAGE,
      length: PAGE,
    }))
  }

  createBlob(id: number, flags: number): number {
    return this.gpu.createBlob(id, PICTURE_PAGES * PAGE, this.pages, BlobMem.GUEST, flags).type
  }

  async close(): Promise<void> {
    await this.gpu.driver.reset()
    this.buffers.close()
    this.heap.close()
    this.memory.close()
  }
}

test('without the driver, what a guest shows is read in one run of bytes, in place, and says why it is no dma-buf', {
  skip,
}, async () => {
  const before = openDescriptors()
  const guest = new LinearGuest()
  const { gpu, buffers } = guest
  assert.equal(guest.createBlob(1, 0), GpuResponse.OK_NODATA)
  assert.equal(buffers.inspect().made.buffers, 0)
  assert.equal(gpu.setScanoutBlob(0, 1, PICTURE).type, GpuResponse.OK_NODATA)
  const surface = gpu.display.surfaces[0]
  assert.equal(surface?.path, 'linear')
  assert.match(surface?.reason ?? '', /there is no \/dev\/there-is-none/)
  const [buffer] = buffers.buffers
  assert.equal(surface?.buffer, buffer)
  assert.deepEqual(buffer.picture, surface?.picture)
  for (const [i, { address }] of guest.pages.entries()) guest.memory.bytes.fill(i + 1, address, address + PAGE)
  assert.deepEqual(
    guest.pages.map((_, i) => buffer.bytes[i * PAGE]),
    [1, 2, 3, 4],
  )
  buffer.retain()
  gpu.unref(1)
  assert.ok(buffer.removed && buffer.handles.kind === 'linear')
  assert.equal(buffer.handles.extents.length, PICTURE_PAGES)
  buffer.release()
  await guest.close()
  assert.equal(openDescriptors(), before)
})

test('a handle that only a dma-buf would do for fails the command, and what may be linear does not', {
  skip,
}, async () => {
  const guest = new LinearGuest()
  assert.notEqual(guest.createBlob(1, BlobFlag.CREATE_GUEST_HANDLE), GpuResponse.OK_NODATA)
  assert.equal(guest.createBlob(1, BlobFlag.USE_SHAREABLE), GpuResponse.OK_NODATA)
  const { totals, refused } = guest.buffers.inspect()
  assert.deepEqual(refused, { 'no-device': 1 })
  assert.deepEqual(totals, [{ kind: 'linear', problem: 'no-device', count: 1, bytes: PICTURE_PAGES * PAGE }])
  await guest.close()
})

test('a place in the heap is nobody else’s while somebody maps it as a part of a file', { skip }, async () => {
  const guest = new LinearGuest()
  const { gpu, buffers, heap } = guest
  gpu.open(CONTEXT)
  const create = (id: number): number => {
    const { blobId, size } = gpu.require(CONTEXT, PICTURE.width, PICTURE.height)
    const flags = BlobFlag.USE_MAPPABLE | BlobFlag.USE_SHAREABLE
    return gpu.createHostBlob(CONTEXT, id, blobId, size[0], BlobMem.HOST3D, flags).type
  }
  assert.equal(create(1), GpuResponse.OK_NODATA)
  assert.equal(gpu.map(1, 0).type, GpuResponse.OK_MAP_INFO)
  heap.window.u8.fill(0x55, 0, PAGE)
  const [buffer] = buffers.buffers
  assert.ok(buffer.retain())
  gpu.unref(1)
  assert.equal(create(2), GpuResponse.OK_NODATA)
  assert.notEqual(gpu.map(2, 0).type, GpuResponse.OK_MAP_INFO)
  assert.equal(heap.window.u8[0], 0x55)
  buffer.release()
  assert.equal(gpu.map(2, 0).type, GpuResponse.OK_MAP_INFO)
  assert.equal(heap.window.u8[0], 0)
  await guest.close()
})

test('a thousand guests’ pictures, shown and taken back, leave no descriptor', { skip }, async () => {
  const guest = new LinearGuest()
  const before = openDescriptors()
  for (let round = 0; round < 1000; round++) {
    guest.createBlob(1, round % 2 === 0 ? 0 : BlobFlag.USE_SHAREABLE)
    guest.gpu.setScanoutBlob(0, 1, PICTURE)
    if (round % 3 === 0) guest.gpu.detach(1)
    guest.gpu.unref(1)
  }
  assert.equal(openDescriptors(), before)
  assert.equal(guest.buffers.inspect().made.buffers, 1000)
  await guest.close()
})

test('pages that this process does not look at are not mapped here a second time', { skip }, async () => {
  const guest = new LinearGuest()
  const before = mappings()
  guest.createBlob(1, BlobFlag.USE_SHAREABLE)
  assert.equal(mappings(), before)
  const [buffer] = guest.buffers.buffers
  assert.equal(buffer.bytes.length, PICTURE_PAGES * PAGE)
  assert.equal(mappings(), before + PICTURE_PAGES)
  guest.gpu.unref(1)
  assert.equal(mappings(), before)
  await guest.close()
})

function mappings(): number {
  return readFileSync('/proc/self/maps', 'latin1').split('/memfd:guest memory').length
}
