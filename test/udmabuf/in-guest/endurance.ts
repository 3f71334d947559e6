import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  letteredFile,
  lettersOf,
  openDescriptors,
  pagesOf,
} from '../../../src/host/linux/udmabuf/testing/test-memory.ts'
import { Udmabuf } from '../../../src/host/linux/udmabuf/udmabuf.ts'
import { allBuffers, systemFigure } from './kernel.ts'

const ROUNDS = 10_000
const PAGES = 4
/** What the rest of the system may take in the meantime; a page left of each round would be 39 MiB. */
const NOISE_BYTES = 16 << 20

/** Where memory is that somebody has a use for; a page that was forgotten is in none of them. */
const KNOWN = ['MemFree', 'Buffers', 'Cached', 'AnonPages', 'Slab', 'KernelStack', 'PageTables'] as const

function knownBytes(): number {
  return KNOWN.reduce((sum, name) => sum + systemFigure(name), 0)
}

/** Makes a file and a buffer of it, uses the buffer, and closes both. */
function round(udmabuf: Udmabuf, index: number): void {
  const file = letteredFile(PAGES)
  const pages = [pagesOf(file, 3), pagesOf(file, 1), pagesOf(file, 0)]
  const buffer = udmabuf.create(index % 2 === 0 ? pages : pages.slice(1, 2), 'a picture')
  if (index % 10 === 0) assert.equal(lettersOf(buffer.bytes), 'DBA')
  if (index % 3 === 0) file.close()
  buffer.close()
  file.close()
}

function state() {
  return {
    descriptors: openDescriptors(),
    buffers: allBuffers(),
    pinned: systemFigure('nr_foll_pin_acquired') - systemFigure('nr_foll_pin_released'),
  }
}

test(`${ROUNDS} buffers later, no descriptor, buffer, pin or page is left of them`, () => {
  const udmabuf = Udmabuf.open()
  for (let i = 0; i < 100; i++) round(udmabuf, i)
  const before = state()
  const [known, shared] = [knownBytes(), systemFigure('Shmem')]
  for (let i = 0; i < ROUNDS; i++) round(udmabuf, i)
  assert.deepEqual(state(), before)
  for (const lost of [known - knownBytes(), systemFigure('Shmem') - shared]) {
    assert.ok(lost < NOISE_BYTES, `${lost} bytes are gone`)
  }
  udmabuf.close()
})
