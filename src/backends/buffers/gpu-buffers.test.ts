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
const PAGES_ADDRESS = 16 << 20
const MODE = { width: 64, height: 64 }
const SURFACE_PAGES = (64 * 64 * 4) / PAGE
const CONTEXT = 7

/** A GPU on a machine without udmabuf, whose guest memory and heap are files. */
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

  /** Every second page, in descending order. */
  get pages(): Entry[] {
    return Array.from({ length: SURFACE_PAGES }, (_, i) => ({
      address: PAGES_ADDRESS + 2 * (SURFACE_PAGES - 1 - i) * PAGE,
      length: PAGE,
    }))
  }

  createBlob(id: number, flags: number): number {
    return this.gpu.createBlob(id, SURFACE_PAGES * PAGE, this.pages, BlobMem.GUEST, flags).type
  }

  async close(): Promise<void> {
    await this.gpu.driver.reset()
    this.buffers.close()
    this.heap.close()
    this.memory.close()
  }
}

test('without udmabuf, a surface is a linear buffer in place, and its reason says why it is not a dma-buf', {
  skip,
}, async () => {
  const before = openDescriptors()
  const guest = new LinearGuest()
  const { gpu, buffers } = guest
  assert.equal(guest.createBlob(1, 0), GpuResponse.OK_NODATA)
  assert.equal(buffers.inspect().made.buffers, 0)
  assert.equal(gpu.setScanoutBlob(0, 1, MODE).type, GpuResponse.OK_NODATA)
  const surface = gpu.display.surfaces[0]
  assert.equal(surface?.path, 'linear')
  assert.match(surface?.reason ?? '', /there is no \/dev\/there-is-none/)
  const [buffer] = buffers.buffers
  assert.equal(surface?.buffer, buffer)
  assert.deepEqual(buffer.layout, surface?.layout)
  for (const [i, { address }] of guest.pages.entries()) guest.memory.bytes.fill(i + 1, address, address + PAGE)
  assert.deepEqual(
    guest.pages.map((_, i) => buffer.bytes[i * PAGE]),
    [1, 2, 3, 4],
  )
  buffer.retain()
  gpu.unref(1)
  assert.ok(buffer.removed && buffer.handles.kind === 'linear')
  assert.equal(buffer.handles.extents.length, SURFACE_PAGES)
  buffer.release()
  await guest.close()
  assert.equal(openDescriptors(), before)
})

test('without udmabuf, CREATE_GUEST_HANDLE fails and USE_SHAREABLE makes a linear buffer', {
  skip,
}, async () => {
  const guest = new LinearGuest()
  assert.notEqual(guest.createBlob(1, BlobFlag.CREATE_GUEST_HANDLE), GpuResponse.OK_NODATA)
  assert.equal(guest.createBlob(1, BlobFlag.USE_SHAREABLE), GpuResponse.OK_NODATA)
  const { totals, refused } = guest.buffers.inspect()
  assert.deepEqual(refused, { 'no-device': 1 })
  assert.deepEqual(totals, [{ kind: 'linear', problem: 'no-device', count: 1, bytes: SURFACE_PAGES * PAGE }])
  await guest.close()
})

test('a place in the heap is not reused while a consumer holds its linear buffer', { skip }, async () => {
  const guest = new LinearGuest()
  const { gpu, buffers, heap } = guest
  gpu.open(CONTEXT)
  const create = (id: number): number => {
    const { blobId, size } = gpu.require(CONTEXT, MODE.width, MODE.height)
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

test('a thousand blobs, shown and destroyed, leave no open descriptor', { skip }, async () => {
  const guest = new LinearGuest()
  const before = openDescriptors()
  for (let round = 0; round < 1000; round++) {
    guest.createBlob(1, round % 2 === 0 ? 0 : BlobFlag.USE_SHAREABLE)
    guest.gpu.setScanoutBlob(0, 1, MODE)
    if (round % 3 === 0) guest.gpu.detach(1)
    guest.gpu.unref(1)
  }
  assert.equal(openDescriptors(), before)
  assert.equal(guest.buffers.inspect().made.buffers, 1000)
  await guest.close()
})

test('a linear buffer is mapped only when this process reads it', { skip }, async () => {
  const guest = new LinearGuest()
  const before = mappings()
  guest.createBlob(1, BlobFlag.USE_SHAREABLE)
  assert.equal(mappings(), before)
  const [buffer] = guest.buffers.buffers
  assert.equal(buffer.bytes.length, SURFACE_PAGES * PAGE)
  assert.equal(mappings(), before + SURFACE_PAGES)
  guest.gpu.unref(1)
  assert.equal(mappings(), before)
  await guest.close()
})

function mappings(): number {
  return readFileSync('/proc/self/maps', 'latin1').split('/memfd:guest memory').length
}
