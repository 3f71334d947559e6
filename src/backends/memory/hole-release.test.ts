import assert from 'node:assert/strict'
import { fstatSync, readSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import { Seal } from '../../host/linux/memory-file.ts'
import { dup, FcntlCommand, fcntl } from '../../host/linux/posix.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { SpanList } from '../../memory/span-list.ts'
import {
  guestMemoryOf,
  letteredFile,
  lettersOf,
  MemfdFlag,
  memfd,
  PAGE,
  spansOf,
} from '../buffers/testing/test-memory.ts'
import { HoleRelease } from './hole-release.ts'

/** Bytes of a file that are allocated. */
function allocated({ fd }: Descriptor): number {
  return fstatSync(fd).blocks * 512
}

test('released pages are free in the file, and read as zeroes in every mapping', () => {
  const file = letteredFile(8)
  const { memory, close } = guestMemoryOf([[0, file, 8 * PAGE]])
  const elsewhere = Mapping.of(new Descriptor(dup('a test', file.fd), 'the monitor'), { offset: 0, length: 8 * PAGE })
  const release = new HoleRelease(assert.fail)
  assert.equal(allocated(file), 8 * PAGE)
  assert.equal(release.release(spansOf(memory, [[2 * PAGE, 3 * PAGE]])), 3 * PAGE)
  assert.equal(allocated(file), 5 * PAGE)
  assert.equal(lettersOf(elsewhere.regions(0)[0].u8), 'AB\0\0\0FGH')

  // The guest uses a page again.
  elsewhere.regions(0)[0].u8[3 * PAGE] = 0x78
  assert.equal(lettersOf(memory.regions[0].u8), 'AB\0x\0FGH')
  elsewhere.close()
  close()
  file.close()
})

test('spans that are adjacent in the file become one hole, also across regions', () => {
  const file = letteredFile(8)
  const regions = [0, 4].map(
    (page) => new MemoryRegion(page * PAGE, 4 * PAGE, assert.fail, { fd: file.fd, offset: page * PAGE }),
  )
  const spans = new SpanList()
  spans.add(regions[0], 2 * PAGE, PAGE)
  spans.add(regions[0], 3 * PAGE, PAGE)
  spans.add(regions[1], 0, 2 * PAGE)
  spans.add(regions[1], 3 * PAGE, PAGE)
  const release = new HoleRelease(assert.fail)
  assert.equal(release.release(spans), 5 * PAGE)
  assert.deepEqual(release.inspect(), { method: 'holes in the memory file', holes: 2, bytes: 5 * PAGE, kept: 0 })
  assert.equal(allocated(file), 3 * PAGE)
  file.close()
})

test('parts of pages keep their content', () => {
  const file = letteredFile(4)
  const region = new MemoryRegion(0, 4 * PAGE, assert.fail, { fd: file.fd, offset: 0 })
  const spans = new SpanList()
  spans.add(region, 1, 2 * PAGE)
  const lines: string[] = []
  const release = new HoleRelease((line) => lines.push(line))
  assert.equal(release.release(spans), PAGE)
  const bytes = new Uint8Array(4 * PAGE)
  readSync(file.fd, bytes)
  assert.equal(lettersOf(bytes), 'A\0CD')
  spans.clear()
  spans.add(region, 8, 64)
  assert.equal(release.release(spans), 0)
  assert.match(lines.join(), /^memory stays with the guest: .* pages of 4096 bytes/)
  file.close()
})

test('memory without a file stays, which is counted and logged once', () => {
  const spans = new SpanList()
  spans.add(MemoryRegion.over(0, new Uint8Array(4 * PAGE)), 0, 2 * PAGE)
  const lines: string[] = []
  const release = new HoleRelease((line) => lines.push(line))
  assert.equal(release.release(spans), 0)
  assert.equal(release.release(spans), 0)
  assert.deepEqual(lines, [
    'memory stays with the guest: guest memory has no file: share it (memory-backend-memfd, share=on)',
  ])
  assert.equal(release.inspect()['kept'], 4 * PAGE)
})

test('a file that cannot have holes keeps its memory, which is counted and logged once', () => {
  const file = memfd(2 * PAGE, 0)
  writeSync(file.fd, new Uint8Array(2 * PAGE).fill(1))
  fcntl('a test', file.fd, FcntlCommand.ADD_SEALS, Seal.WRITE)
  const spans = new SpanList()
  spans.add(new MemoryRegion(0, 2 * PAGE, assert.fail, { fd: file.fd, offset: 0 }), 0, 2 * PAGE)
  const lines: string[] = []
  const release = new HoleRelease((line) => lines.push(line))
  assert.equal(release.release(spans), 0)
  assert.equal(release.release(spans), 0)
  assert.equal(lines.length, 1)
  assert.match(lines[0], /EPERM/)
  assert.equal(allocated(file), 2 * PAGE)
  file.close()
})

const HUGE = 2 << 20

test('huge pages are released as a whole only', () => {
  // Without a mapping, the file needs no huge pages of the system.
  const file = memfd(2 * HUGE, 0, MemfdFlag.CLOEXEC | MemfdFlag.HUGETLB)
  const spans = new SpanList()
  spans.add(new MemoryRegion(0, 2 * HUGE, assert.fail, { fd: file.fd, offset: 0 }), HUGE - PAGE, HUGE + PAGE)
  const release = new HoleRelease(assert.fail)
  assert.equal(release.release(spans), HUGE)
  assert.equal(release.inspect()['kept'], PAGE)
  file.close()
})
