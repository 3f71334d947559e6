import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import { fstatSync, openSync } from 'node:fs'
import { test } from 'node:test'
import { LinearView } from '../../../src/backends/buffers/linear-view.ts'
import {
  guestMemoryOf,
  letteredFile,
  memfd,
  openDescriptors,
  PAGE,
  pagesOf,
  spansOf,
} from '../../../src/backends/buffers/testing/test-memory.ts'
import { Descriptor } from '../../../src/host/linux/descriptor.ts'
import { PollEvent, poll } from '../../../src/host/linux/posix.ts'
import { fileExtents } from '../../../src/host/linux/udmabuf/file-extents.ts'
import { DmaBufAccess } from '../../../src/host/linux/udmabuf/protocol.ts'
import { Udmabuf } from '../../../src/host/linux/udmabuf/udmabuf.ts'
import { UdmabufProblem } from '../../../src/host/linux/udmabuf/udmabuf-error.ts'
import { DrmDevice } from './drm-device.ts'
import { allBuffers, outcome } from './kernel.ts'

const udmabuf = Udmabuf.open()
const LOW = 0x10_0000
const HIGH = 0x1_0000_0000
const PAGES = 256

/** A guest whose memory is two files with random contents. */
function makeGuest() {
  const files = [memfd(PAGES * PAGE), memfd(PAGES * PAGE)]
  const { memory, close } = guestMemoryOf([
    [LOW, files[0], PAGES * PAGE],
    [HIGH, files[1], PAGES * PAGE],
  ])
  for (const region of memory.regions) randomFillSync(region.u8)
  const closeAll = () => {
    close()
    for (const file of files) file.close()
  }
  return { memory, close: closeAll }
}

/** Pages as a driver may list them: single, adjacent, and of both files. */
const ENTRIES: readonly (readonly [address: number, length: number])[] = [
  [LOW + 100 * PAGE, PAGE],
  [LOW + 7 * PAGE, 3 * PAGE],
  [HIGH + 255 * PAGE, PAGE],
  [HIGH, PAGE],
  [HIGH + PAGE, PAGE],
  [LOW + 6 * PAGE, PAGE],
]

function contents({ memory }: ReturnType<typeof makeGuest>): Buffer {
  return Buffer.concat(
    ENTRIES.map(([address, length]) => {
      const region = memory.find(address)
      const offset = address - (region?.base ?? 0)
      return region?.u8.subarray(offset, offset + length) ?? new Uint8Array()
    }),
  )
}

test('a dma-buf and a linear view of a scatter list have the same bytes', () => {
  const guest = makeGuest()
  const extents = fileExtents(spansOf(guest.memory, ENTRIES))
  assert.equal(extents.length, 5)
  const buffer = udmabuf.create(extents, 'a buffer')
  const view = LinearView.of(extents, 'a buffer', 'a test')
  assert.equal(buffer.size, 8 * PAGE)
  assert.ok(contents(guest).equals(buffer.bytes))
  assert.ok(contents(guest).equals(view.bytes))
  randomFillSync(guest.memory.regions[1].u8)
  assert.ok(contents(guest).equals(buffer.bytes))
  assert.ok(contents(guest).equals(view.bytes))
  guest.close()
  view.close()
  buffer.close()
})

test('another driver that imports a buffer holds it and exports the same pages', () => {
  const before = allBuffers()
  const guest = makeGuest()
  const vgem = new DrmDevice('platform/vgem')
  const buffer = udmabuf.create(fileExtents(spansOf(guest.memory, ENTRIES)), 'a buffer')
  const inode = fstatSync(buffer.descriptor.fd).ino
  const handle = vgem.import(buffer)
  assert.equal(allBuffers().attachments, before.attachments + 1)
  buffer.close()
  const drawn = contents(guest)
  guest.close()
  const back = vgem.export(handle)
  assert.equal(fstatSync(back.descriptor.fd).ino, inode)
  back.beginAccess(DmaBufAccess.READ)
  assert.ok(drawn.equals(back.bytes))
  back.endAccess(DmaBufAccess.READ)
  back.close()
  // An imported buffer can be mapped through the dma-buf only.
  assert.equal(
    outcome(() => vgem.mapDumb(handle)),
    'EINVAL',
  )
  vgem.closeHandle(handle)
  vgem.close()
  assert.deepEqual(allBuffers(), before)
})

test('another driver sees writes of the guest after the import', () => {
  const guest = makeGuest()
  const vgem = new DrmDevice('platform/vgem')
  const buffer = udmabuf.create(fileExtents(spansOf(guest.memory, ENTRIES)), 'a buffer')
  const back = vgem.export(vgem.import(buffer))
  buffer.close()
  for (const region of guest.memory.regions) randomFillSync(region.u8)
  assert.ok(contents(guest).equals(back.bytes))
  back.bytes[0] ^= 0xff
  assert.ok(contents(guest).equals(back.bytes))
  vgem.close()
  back.close()
  guest.close()
})

test('a virtio-gpu driver without blobs imports no dma-buf: ENODEV', () => {
  const file = letteredFile(1)
  const buffer = udmabuf.create([pagesOf(file, 0)], 'a buffer')
  const gpu = new DrmDevice('pci')
  assert.equal(
    outcome(() => gpu.import(buffer)),
    'ENODEV',
  )
  gpu.close()
  buffer.close()
  file.close()
})

test('a buffer is not idle until the fence of the device is signalled', () => {
  const before = openDescriptors()
  const file = letteredFile(2)
  const buffer = udmabuf.create([pagesOf(file, 0)], 'a buffer')
  const other = udmabuf.create([pagesOf(file, 1)], 'another')
  const vgem = new DrmDevice('platform/vgem')
  const handle = vgem.import(buffer)
  const states = () => [buffer, other].map((one) => [one.idle(DmaBufAccess.READ), one.idle(DmaBufAccess.WRITE)])

  const reading = vgem.begin(handle, false)
  assert.deepEqual(states()[0], [true, false])
  vgem.end(reading)
  assert.deepEqual(states()[0], [true, true])

  const writing = vgem.begin(handle, true)
  const fence = buffer.exportSyncFile(DmaBufAccess.READ)
  const signalled = () => poll('a test', Int32Array.of(fence.fd, PollEvent.IN), 1, 0) === 1
  other.importSyncFile(fence, DmaBufAccess.WRITE)
  assert.deepEqual(states(), [
    [false, false],
    [false, false],
  ])
  assert.equal(signalled(), false)
  vgem.end(writing)
  assert.equal(signalled(), true)
  assert.deepEqual(states(), [
    [true, true],
    [true, true],
  ])
  vgem.close()
  for (const one of [fence, buffer, other, file]) one.close()
  assert.equal(openDescriptors(), before)
})

test('files that the kernel would refuse are refused with a reason', () => {
  const buffer = udmabuf.create([pagesOf(letteredFile(1), 0)], 'a buffer')
  const nothing = new Descriptor(openSync('/dev/null', 'r+'), '/dev/null')
  for (const one of [buffer.descriptor, nothing]) {
    assert.throws(() => udmabuf.create([pagesOf(one, 0)], 'a buffer'), {
      problem: UdmabufProblem.NOT_MEMORY_FILE,
      message: /is not a memory file: share a memfd/,
    })
  }
  nothing.close()
  buffer.close()
})

test('without free file descriptors, the error is NO_DESCRIPTOR and nothing stays open', () => {
  const buffers = allBuffers()
  const before = openDescriptors()
  const file = letteredFile(4)
  const taken: Descriptor[] = []
  try {
    for (;;) taken.push(new Descriptor(openSync('/dev/null', 'r'), 'a number'))
  } catch {}
  const failure = (() => {
    try {
      return udmabuf.create([pagesOf(file, 0), pagesOf(file, 2)], 'a buffer')
    } catch (error) {
      return error
    } finally {
      for (const one of taken) one.close()
    }
  })()
  assert.ok(failure instanceof Error && 'problem' in failure, `${failure}`)
  assert.equal(failure.problem, UdmabufProblem.NO_DESCRIPTOR)
  assert.match(failure.message, /EMFILE: close descriptors, or raise the limit: ulimit -n$/)
  file.close()
  assert.equal(openDescriptors(), before)
  assert.deepEqual(allBuffers(), buffers)
})
