import assert from 'node:assert/strict'
import { readSync } from 'node:fs'
import { test } from 'node:test'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import { SpanList } from '../../memory/span-list.ts'
import type { NotShared, ShareRequest } from '../../services/shared-buffer.ts'
import type { GuestBuffer } from './guest-buffer.ts'
import { GuestBuffers } from './guest-buffers.ts'
import type { HeldExtent } from './held-files.ts'
import { guestMemoryOf, letteredFile, lettersOf, memfd, openDescriptors, PAGE, spansOf } from './testing/test-memory.ts'

const skip = ffiMissing() ?? false
const MISSING = '/dev/there-is-no-udmabuf'
/** A device file that accepts no ioctl. */
const NO_DRIVER = '/dev/null'
const REQUEST: ShareRequest = { what: 'resource 7', owner: 'guest', dmaBufOnly: false }
const LAYOUT = { width: 16, height: 16, fourcc: 0x34325258, modifier: 0n, planes: [{ offset: 0, stride: 64 }] }
const UUID = Uint8Array.from({ length: 16 }, (_, i) => i)

/** A guest with lettered pages from address 0. */
function guestOf(pages: number): { readonly file: Descriptor; readonly memory: GuestMemory; close(): void } {
  const file = letteredFile(pages)
  const guest = guestMemoryOf([[0, file, pages * PAGE]])
  return {
    file,
    memory: guest.memory,
    close: () => {
      guest.close()
      file.close()
    },
  }
}

function spansOfPages(memory: GuestMemory, pages: readonly number[]): SpanList {
  return spansOf(
    memory,
    pages.map((page) => [page * PAGE, PAGE]),
  )
}

function made(buffer: GuestBuffer | NotShared): GuestBuffer {
  assert.ok('kind' in buffer, 'kind' in buffer ? undefined : buffer.reason)
  return buffer
}

function refused(buffer: GuestBuffer | NotShared): NotShared {
  assert.ok(!('kind' in buffer))
  return buffer
}

function extentsOf(buffer: GuestBuffer): readonly HeldExtent[] {
  assert.ok(buffer.handles.kind === 'linear')
  return buffer.handles.extents
}

/** Reads the extents from their files, as a consumer does. */
function lettersIn(extents: readonly HeldExtent[]): string {
  return extents
    .map(({ file, offset, length }) => {
      const bytes = new Uint8Array(length)
      readSync(file.fd, bytes, 0, length, offset)
      return lettersOf(bytes)
    })
    .join('')
}

test('without the driver, buffers are linear and have a reason', { skip }, () => {
  const lines: string[] = []
  const buffers = GuestBuffers.open({ device: MISSING, log: (line) => lines.push(line) })
  const guest = guestOf(8)
  const buffer = made(buffers.share(spansOfPages(guest.memory, [5, 1, 2, 7]), REQUEST))
  assert.equal(buffer.kind, 'linear')
  assert.match(buffer.reason, /^there is no \/dev\/there-is-no-udmabuf: modprobe udmabuf/)
  assert.equal(lettersOf(buffer.bytes), 'FBCH')
  guest.memory.regions[0].u8[5 * PAGE] = 'z'.charCodeAt(0)
  buffer.beginRead()
  assert.equal(lettersOf(buffer.bytes), 'zBCH')
  buffer.endRead()
  assert.deepEqual(
    extentsOf(buffer).map(({ offset, length }) => [offset / PAGE, length / PAGE]),
    [
      [5, 1],
      [1, 2],
      [7, 1],
    ],
  )
  buffers.close()
  guest.close()
  assert.deepEqual(lines, [
    `buffers are linear, not dma-bufs: there is no ${MISSING}: modprobe udmabuf, or boot a kernel with CONFIG_UDMABUF`,
  ])
})

test('without the driver, a request for a dma-buf is refused', { skip }, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const guest = guestOf(2)
  const answer = refused(buffers.share(spansOfPages(guest.memory, [0]), { ...REQUEST, dmaBufOnly: true }))
  assert.deepEqual(answer.problem, 'no-device')
  assert.match(answer.reason, /modprobe udmabuf/)
  assert.deepEqual(buffers.inspect().refused, { 'no-device': 1 })
  assert.deepEqual([...buffers.buffers], [])
  guest.close()
  buffers.close()
})

test('a buffer that the driver refuses is linear, and each reason is logged once', { skip }, () => {
  const lines: string[] = []
  const buffers = GuestBuffers.open({ device: NO_DRIVER, log: (line) => lines.push(line) })
  assert.equal(buffers.inspect().unavailable, null)
  const guest = guestOf(4)
  for (let i = 0; i < 3; i++) {
    const buffer = made(buffers.share(spansOfPages(guest.memory, [i]), REQUEST))
    assert.equal(buffer.kind, 'linear')
    assert.match(buffer.reason, /\/dev\/null is not a udmabuf driver/)
  }
  assert.equal(lines.length, 1)
  assert.match(lines[0], /^a buffer is linear, not a dma-buf: /)
  assert.deepEqual(buffers.inspect().totals, [{ kind: 'linear', problem: 'no-device', count: 3, bytes: 3 * PAGE }])
  buffers.close()
  guest.close()
})

test('memory that is not whole pages, and no memory, are refused', { skip }, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const guest = guestOf(2)
  const parts = spansOf(guest.memory, [[8, PAGE]])
  assert.equal(refused(buffers.share(parts, REQUEST)).problem, 'unaligned')
  assert.equal(refused(buffers.share(new SpanList(), REQUEST)).problem, 'empty')
  guest.close()
  buffers.close()
})

test('pages of memory whose file is closed are refused, even if another file has its descriptor number', {
  skip,
}, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const guest = guestOf(2)
  const spans = spansOfPages(guest.memory, [1])
  guest.close()
  const others = [memfd(4 * PAGE), memfd(4 * PAGE)]
  assert.match(refused(buffers.share(spans, REQUEST)).reason, /is closed/)
  for (const other of others) other.close()
  buffers.close()
})

test('buffers keep the guest memory they were made of when it is replaced', { skip }, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const guest = guestOf(4)
  const buffer = made(buffers.share(spansOfPages(guest.memory, [3, 0]), REQUEST))
  guest.close()
  assert.equal(lettersOf(buffer.bytes), 'DA')
  assert.equal(lettersIn(extentsOf(buffer)), 'DA')
  buffers.close()
})

test('a held buffer keeps its memory when the guest ends the export, until it is released', { skip }, () => {
  const before = openDescriptors()
  const buffers = GuestBuffers.open({ device: MISSING })
  const guest = guestOf(4)
  const buffer = made(buffers.share(spansOfPages(guest.memory, [2]), REQUEST))
  assert.equal(buffer.inUse, false)
  assert.ok(buffer.retain())
  assert.ok(buffer.retain())
  const extents = extentsOf(buffer)
  const { bytes } = buffer
  buffer.close()
  buffer.close()
  guest.close()
  assert.equal(buffer.inUse, true)
  assert.equal(lettersIn(extents), 'C')
  assert.equal(bytes[0], 0)
  assert.deepEqual([...buffers.buffers], [])
  assert.deepEqual(
    buffers.inspect().buffers.map(({ holders, removed }) => [holders, removed]),
    [[2, true]],
  )
  buffer.release()
  assert.equal(buffer.inUse, true)
  buffer.release()
  assert.equal(buffer.inUse, false)
  assert.equal(buffer.retain(), false)
  assert.throws(() => buffer.release(), /released more often/)
  assert.deepEqual(buffers.inspect().buffers, [])
  buffers.close()
  assert.equal(openDescriptors(), before)
})

test('listeners receive all events of buffers, and may hold a buffer when it is removed', { skip }, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const guest = guestOf(4)
  const events: string[] = []
  const watch = buffers.watch({
    added: ({ name }) => events.push(`added ${name}`),
    named: ({ uuid }) => events.push(`named ${uuid?.[15]}`),
    described: ({ layout }) => events.push(`described ${layout?.width}`),
    presented: (_, { x }) => events.push(`presented ${x}`),
    removed: (buffer) => events.push(`removed ${buffer.retain()}`),
  })
  const buffer = made(buffers.share(spansOfPages(guest.memory, [2]), REQUEST))
  buffer.describe(LAYOUT)
  buffer.assignUuid(UUID)
  assert.equal(buffers.find(UUID), buffer)
  buffer.present({ x: 3, y: 0, width: 1, height: 1 })
  buffer.close()
  assert.equal(buffers.find(UUID), undefined)
  assert.equal(lettersIn(extentsOf(buffer)), 'C')
  buffer.release()
  for (const late of [() => buffer.describe(LAYOUT), () => buffer.assignUuid(UUID)]) late()
  assert.equal(buffers.find(UUID), undefined)
  watch.close()
  made(buffers.share(spansOfPages(guest.memory, [1]), REQUEST))
  assert.deepEqual(events, ['added resource 7', 'described 16', 'named 15', 'presented 3', 'removed true'])
  buffers.close()
  guest.close()
})

test('allocate returns whole pages of zeroes in a file', { skip }, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const buffer = made(buffers.allocate(PAGE + 1, 'resource 9'))
  assert.equal(buffer.byteLength, 2 * PAGE)
  assert.ok(buffer.bytes.every((byte) => byte === 0))
  buffer.bytes[PAGE] = 'Q'.charCodeAt(0)
  assert.equal(lettersIn(extentsOf(buffer)), '\0Q')
  assert.equal(refused(buffers.allocate(2 ** 30 + 1, 'resource 9')).problem, 'too-large')
  buffers.close()
})

test('inspect shows kind, reason, spans, pieces, UUID and framebuffer layout of each buffer', {
  skip,
}, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const file = letteredFile(8)
  // The same file at two addresses.
  const guest = guestMemoryOf([
    [0, file, 8 * PAGE],
    [0x10_0000, file, 8 * PAGE],
  ])
  const spans = spansOf(guest.memory, [
    [0, PAGE],
    [PAGE, PAGE],
    [5 * PAGE, PAGE],
  ])
  const buffer = made(buffers.share(spans, REQUEST))
  buffer.describe(LAYOUT)
  buffer.assignUuid(UUID)
  const inspection = buffers.inspect()
  const [shown] = inspection.buffers
  assert.deepEqual(
    { ...shown, reason: '' },
    {
      name: 'resource 7',
      kind: 'linear',
      reason: '',
      problem: 'no-device',
      owner: 'guest',
      bytes: 3 * PAGE,
      spans: 2,
      pieces: 2,
      uuid: '000102030405060708090a0b0c0d0e0f',
      picture: { width: 16, height: 16, planes: 1 },
      holders: 0,
      removed: false,
    },
  )
  assert.deepEqual(inspection.made, { buffers: 1, spans: 2, pieces: 2 })
  assert.deepEqual(JSON.parse(JSON.stringify(inspection)), inspection)
  buffers.close()
  guest.close()
  file.close()
})

test('the pieces of all linear buffers are bounded, and closed buffers no longer count', {
  skip,
}, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const pages = 65_536
  const file = memfd(pages * PAGE)
  const guest = guestMemoryOf([[0, file, pages * PAGE]])
  const scattered = spansOfPages(
    guest.memory,
    Array.from({ length: 30_000 }, (_, i) => i * 2),
  )
  const first = made(buffers.share(scattered, REQUEST))
  const answer = refused(buffers.share(scattered, REQUEST))
  assert.equal(answer.problem, 'too-many-pieces')
  assert.match(answer.reason, /^resource 7 is in 30000 pieces, and 30000 of 49152 are taken: /)
  first.close()
  made(buffers.share(scattered, REQUEST)).close()
  buffers.close()
  guest.close()
  file.close()
})

test('a guest may have at most 4096 buffers', { skip }, () => {
  const buffers = GuestBuffers.open({ device: MISSING })
  const guest = guestOf(1)
  const spans = spansOfPages(guest.memory, [0])
  for (let i = 0; i < 4096; i++) made(buffers.share(spans, REQUEST))
  assert.equal(refused(buffers.share(spans, REQUEST)).problem, 'no-descriptor')
  buffers.close()
  assert.deepEqual(buffers.inspect().buffers, [])
  guest.close()
})

test('a thousand buffers, held and not, leave no open descriptor', { skip }, () => {
  const before = openDescriptors()
  const guest = guestOf(8)
  const buffers = GuestBuffers.open({ device: NO_DRIVER })
  for (let round = 0; round < 1000; round++) {
    const buffer = made(buffers.share(spansOfPages(guest.memory, [round % 8, (round + 3) % 8]), REQUEST))
    const copy = made(buffers.allocate(PAGE, 'resource 8'))
    refused(buffers.share(spansOf(guest.memory, [[4, PAGE]]), REQUEST))
    const isHeld = round % 2 === 0
    if (isHeld) for (const one of [buffer, copy]) one.retain()
    buffer.close()
    copy.close()
    if (isHeld) for (const one of [copy, buffer]) one.release()
  }
  buffers.close()
  guest.close()
  assert.equal(openDescriptors(), before)
})
