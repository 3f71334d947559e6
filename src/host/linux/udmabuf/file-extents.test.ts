import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PAGE, spansOf } from '../../../backends/buffers/testing/test-memory.ts'
import { GuestMemory } from '../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { ffiMissing } from '../ffi.ts'
import { fileExtents } from './file-extents.ts'
import { UdmabufProblem } from './udmabuf-error.ts'

const skip = ffiMissing() ?? false
const HIGH = 0x1_0000_0000

function region(base: number, pages: number, fd: number, offset: number): MemoryRegion {
  const bytes = new Uint8Array(pages * PAGE)
  return new MemoryRegion(base, bytes.length, () => bytes, { fd, offset })
}

/** Two regions of one file, adjacent in the file and not in guest memory; and one of another file. */
const memory = new GuestMemory([
  region(0, 8, 50, PAGE),
  region(HIGH, 4, 50, 9 * PAGE),
  region(HIGH + 4 * PAGE, 4, 51, 0),
])

test('a guest address becomes a file and an offset', { skip }, () => {
  const extents = fileExtents(
    spansOf(memory, [
      [3 * PAGE, PAGE],
      [HIGH + 5 * PAGE, 2 * PAGE],
    ]),
  )
  assert.deepEqual(extents, [
    { fd: 50, offset: 4 * PAGE, length: PAGE },
    { fd: 51, offset: PAGE, length: 2 * PAGE },
  ])
})

test('pages that are adjacent in their file are one piece, also if they are not in the guest', { skip }, () => {
  const extents = fileExtents(
    spansOf(memory, [
      [6 * PAGE, PAGE],
      [7 * PAGE, PAGE],
      [HIGH, PAGE],
      [HIGH + PAGE, 3 * PAGE],
    ]),
  )
  assert.deepEqual(extents, [{ fd: 50, offset: 7 * PAGE, length: 6 * PAGE }])
})

test('pages that are adjacent in the guest but in two files are two pieces', { skip }, () => {
  const extents = fileExtents(spansOf(memory, [[HIGH + 3 * PAGE, 2 * PAGE]]))
  assert.deepEqual(extents, [
    { fd: 50, offset: 12 * PAGE, length: PAGE },
    { fd: 51, offset: 0, length: PAGE },
  ])
})

test('pages in descending order, and repeated pages, keep their order', { skip }, () => {
  const entries = [2, 1, 1, 0].map((page): [number, number] => [page * PAGE, PAGE])
  const offsets = fileExtents(spansOf(memory, entries)).map(({ offset }) => offset / PAGE)
  assert.deepEqual(offsets, [3, 2, 2, 1])
})

test('parts that form a whole page are one piece', { skip }, () => {
  const entries: [number, number][] = [
    [PAGE, 1000],
    [PAGE + 1000, 3096],
  ]
  assert.deepEqual(fileExtents(spansOf(memory, entries)), [{ fd: 50, offset: 2 * PAGE, length: PAGE }])
})

test('a piece that is not whole pages is refused, and the error names it', { skip }, () => {
  for (const piece of [
    [PAGE + 8, PAGE],
    [PAGE, PAGE - 4],
  ] as const) {
    assert.throws(() => fileExtents(spansOf(memory, [[7 * PAGE, PAGE], piece])), {
      problem: UdmabufProblem.UNALIGNED,
      message: /^piece 2 of 2, \d+ bytes from \d+ of its file, is not whole pages: .* multiples of 4096/,
    })
  }
})

test('memory without a file, and no memory, are refused', { skip }, () => {
  const emulated = new GuestMemory([MemoryRegion.over(0x5000, new Uint8Array(PAGE))])
  assert.throws(() => fileExtents(spansOf(emulated, [[0x5000, PAGE]])), {
    problem: UdmabufProblem.NO_FILE,
    message: /at 5000 has no file/,
  })
  assert.throws(() => fileExtents(new SpanList()), { problem: UdmabufProblem.EMPTY })
})
