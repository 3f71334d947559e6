import assert from 'node:assert/strict'
import { openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { FallocateMode, fallocate } from '../../host/linux/posix.ts'
import { fileExtents } from '../../host/linux/udmabuf/file-extents.ts'
import { UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'
import { LinearView } from './linear-view.ts'
import {
  guestMemoryOf,
  letteredFile,
  lettersOf,
  memfd,
  openDescriptors,
  PAGE,
  pagesOf,
  spansOf,
} from './testing/test-memory.ts'

const skip = ffiMissing() ?? false
const WHY = 'there is no /dev/udmabuf'

test('a view maps scattered pages of two files contiguously, without a copy', { skip }, () => {
  const [upper, lower] = [letteredFile(16, 'A'), letteredFile(8, 'a')]
  const pages = [pagesOf(upper, 15), pagesOf(upper, 0), pagesOf(lower, 6, 2), pagesOf(upper, 4), pagesOf(upper, 4)]
  const view = LinearView.of(pages, 'a buffer', WHY)
  assert.equal(lettersOf(view.bytes), 'PAghEE')
  assert.equal(view.notDmaBuf, WHY)
  view.bytes[PAGE + 5] = 33
  const read = new Uint8Array(1)
  readSync(upper.fd, read, 0, 1, 5)
  assert.equal(read[0], 33)
  view.bytes[4 * PAGE + 1] = 34
  assert.equal(view.bytes[5 * PAGE + 1], 34)
  upper.close()
  lower.close()
  assert.equal(lettersOf(view.bytes), 'PAghEE')
  view.close()
})

test('a view shows later writes of the guest', { skip }, () => {
  const file = memfd(64 * PAGE)
  const guest = guestMemoryOf([[0x10_0000, file, 64 * PAGE]])
  const entries = [9, 3, 30, 31, 12].map((page): [number, number] => [0x10_0000 + page * PAGE, PAGE])
  const spans = spansOf(guest.memory, entries)
  const view = LinearView.of(fileExtents(spans), 'a buffer', WHY)
  for (const [i, [address]] of entries.entries()) guest.memory.regions[0].u8[address - 0x10_0000 + 7] = 100 + i
  assert.deepEqual(
    [...entries.keys()].map((i) => view.bytes[i * PAGE + 7]),
    [100, 101, 102, 103, 104],
  )
  view.close()
  guest.close()
  file.close()
})

test('a closed view no longer maps the pages, and its bytes are zeroes', { skip }, () => {
  const file = letteredFile(2)
  const view = LinearView.of([pagesOf(file, 1), pagesOf(file, 0)], 'a buffer', WHY)
  const { bytes } = view
  view.close()
  view.close()
  assert.deepEqual([bytes[0], bytes[PAGE]], [0, 0])
  bytes[0] = 1
  const read = new Uint8Array(1)
  readSync(file.fd, read, 0, 1, PAGE)
  assert.equal(read[0], 66)
  file.close()
})

test('a hole punched in the file is a hole in the view', { skip }, () => {
  const file = letteredFile(2)
  const view = LinearView.of([pagesOf(file, 1), pagesOf(file, 0)], 'a buffer', WHY)
  fallocate('a test', file.fd, FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE, PAGE, PAGE)
  assert.equal(lettersOf(view.bytes), '\0A')
  writeSync(file.fd, Uint8Array.of(90), 0, 1, PAGE)
  assert.equal(lettersOf(view.bytes), 'ZA')
  view.close()
  file.close()
})

test('if a piece cannot be mapped, none stays mapped', { skip }, () => {
  const file = letteredFile(4)
  const executable = new Descriptor(openSync(process.execPath, 'r'), 'a file for reading')
  const [descriptors, mappings] = [openDescriptors(), mappingsOf('a test')]
  const attempt = () => LinearView.of([pagesOf(file, 2), pagesOf(executable, 0)], 'a buffer', WHY)
  assert.throws(attempt, { problem: UdmabufProblem.NOT_MEMORY_FILE, message: /^mapping a piece of a buffer: .*: / })
  assert.equal(openDescriptors(), descriptors)
  assert.equal(mappingsOf('a test'), mappings)
  const closed = pagesOf(file, 0)
  file.close()
  executable.close()
  assert.throws(() => LinearView.of([closed], 'a buffer', WHY), { problem: UdmabufProblem.NOT_MEMORY_FILE })
})

test('too many bytes and too many pieces are refused before anything is mapped', { skip }, () => {
  const file = memfd(2 ** 30 + PAGE)
  const { fd } = file
  const large = [{ fd, offset: 0, length: 2 ** 30 + PAGE }]
  assert.throws(() => LinearView.of(large, 'a buffer', WHY), { problem: UdmabufProblem.TOO_LARGE })
  const many = Array.from({ length: 32_769 }, () => pagesOf(file, 0))
  assert.throws(() => LinearView.of(many, 'a buffer', WHY), {
    problem: UdmabufProblem.TOO_MANY_PIECES,
    message: /in 32769 pieces, and a view takes 32768/,
  })
  assert.throws(() => LinearView.of([], 'a buffer', WHY), { problem: UdmabufProblem.EMPTY })
  file.close()
})

test('every page of an 8K surface may be a piece of its own', { skip }, () => {
  const pages = (7680 * 4320 * 4) / PAGE
  const file = memfd(pages * 2 * PAGE)
  const view = LinearView.of(
    Array.from({ length: pages }, (_, i) => pagesOf(file, i * 2)),
    'a buffer',
    WHY,
  )
  assert.equal(view.bytes.length, 7680 * 4320 * 4)
  view.bytes[view.bytes.length - 1] = 5
  const read = new Uint8Array(1)
  readSync(file.fd, read, 0, 1, (2 * pages - 1) * PAGE - 1)
  assert.equal(read[0], 5)
  view.close()
  file.close()
})

function mappingsOf(name: string): number {
  return readFileSync('/proc/self/maps', 'latin1').split(`/memfd:${name}`).length - 1
}

test('a piece past the end of its file is refused, because touching it would raise SIGBUS', { skip }, () => {
  const file = memfd(2 * PAGE)
  assert.throws(() => LinearView.of([pagesOf(file, 0), pagesOf(file, 1, 2)], 'a buffer', WHY), {
    problem: UdmabufProblem.BEYOND_FILE,
    message: /^piece 2 of a buffer, 8192 bytes from 4096, is not all in its file of 8192: /,
  })
  file.close()
})
