import assert from 'node:assert/strict'
import { fstatSync } from 'node:fs'
import { test } from 'node:test'
import { openDescriptors, PAGE } from '../../../src/backends/buffers/testing/test-memory.ts'
import { GpuResponse } from '../../../src/devices/virtio/gpu/protocol.ts'
import { DmaBufAccess } from '../../../src/host/linux/udmabuf/protocol.ts'
import { GpuGuest } from './gpu-guest.ts'
import { allBuffers } from './kernel.ts'

const { OK_NODATA } = GpuResponse
const MODE = { width: 128, height: 64 }
const PAGES = 8

test('a shareable guest blob of scattered pages is a dma-buf of those pages, also for another driver', async () => {
  const before = { ...allBuffers(), descriptors: openDescriptors() }
  const guest = new GpuGuest()
  const entries = guest.scatter(PAGES)
  guest.draw(entries)
  assert.equal(guest.createBlob(1, entries), OK_NODATA)
  const { buffer } = guest
  assert.deepEqual([buffer.kind, buffer.byteLength, buffer.inspect().pieces], ['dma-buf', PAGES * PAGE, PAGES])
  assert.ok(guest.contents(entries).equals(buffer.bytes))

  assert.equal(guest.gpu.setScanoutBlob(0, 1, MODE).type, OK_NODATA)
  const surface = guest.gpu.display.surfaces[0]
  assert.equal(surface?.path, 'dma-buf')
  assert.equal(surface.buffer, buffer)
  const back = guest.imported()
  assert.equal(allBuffers().attachments, before.attachments + 1)
  guest.draw(entries)
  guest.gpu.flush(1, { x: 0, y: 0, ...MODE })
  back.beginAccess(DmaBufAccess.READ)
  assert.ok(guest.contents(entries).equals(back.bytes))
  back.endAccess(DmaBufAccess.READ)
  const shown = new Uint8Array(PAGES * PAGE)
  surface.read({ x: 0, y: 0, ...MODE }, shown, 0, MODE.width * 4)
  assert.ok(guest.contents(entries).equals(shown))
  guest.closeImport(back)
  await guest.close()
  assert.deepEqual({ ...allBuffers(), descriptors: openDescriptors() }, before)
})

test('a blob that is not shareable becomes a dma-buf when it is scanned out, and keeps it', async () => {
  const guest = new GpuGuest()
  const entries = guest.scatter(PAGES, 3)
  guest.createBlob(1, entries, 0)
  assert.equal(guest.dmaBufs, 0)
  guest.gpu.setScanoutBlob(0, 1, MODE)
  const { buffer } = guest
  guest.gpu.setScanout(0, 0, { x: 0, y: 0, width: 0, height: 0 })
  guest.gpu.setScanoutBlob(0, 1, MODE)
  assert.deepEqual([guest.gpu.display.surfaces[0]?.path, guest.buffer === buffer], ['dma-buf', true])
  assert.equal(guest.dmaBufs, 1)
  await guest.close()
})

for (const [how, takeBack] of [
  ['destroys its blob', async ({ gpu }: GpuGuest) => void gpu.unref(1)],
  ['detaches its pages', async ({ gpu }: GpuGuest) => void gpu.detach(1)],
  ['resets its GPU', ({ gpu }: GpuGuest) => gpu.driver.reset()],
] as const) {
  test(`a guest that ${how} while it is shown and imported can reuse its pages, which the importer keeps`, async () => {
    const guest = new GpuGuest()
    const entries = guest.scatter(PAGES)
    guest.draw(entries)
    guest.createBlob(1, entries)
    guest.gpu.setScanoutBlob(0, 1, MODE)
    const { buffer } = guest
    const removed: string[] = []
    guest.buffers.watch({ removed: ({ name }) => removed.push(name) })
    const back = guest.imported()
    const inode = fstatSync(back.descriptor.fd).ino
    await takeBack(guest)

    assert.deepEqual([removed, [...guest.buffers.buffers]], [['resource 1'], []])
    // Our descriptor is closed: the other driver holds the last reference.
    assert.equal(buffer.inspect().removed, true)
    assert.deepEqual([fstatSync(back.descriptor.fd).ino, guest.dmaBufs], [inode, 1])
    assert.ok(guest.contents(entries).equals(back.bytes))
    const surface = guest.gpu.display.surfaces[0]
    const shown = new Uint8Array(PAGES * PAGE).fill(1)
    surface?.read({ x: 0, y: 0, ...MODE }, shown, 0, MODE.width * 4)
    assert.ok(shown.every((byte) => byte === (surface ? 0 : 1)))
    // The guest writes its pages, which the importer sees.
    guest.draw(entries)
    assert.ok(guest.contents(entries).equals(back.bytes))
    guest.closeImport(back)
    await guest.close()
  })
}
