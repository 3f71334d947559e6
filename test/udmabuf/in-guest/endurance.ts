import assert from 'node:assert/strict'
import { test } from 'node:test'
import { letteredFile, lettersOf, openDescriptors, pagesOf } from '../../../src/backends/buffers/testing/test-memory.ts'
import { GpuResponse } from '../../../src/devices/virtio/gpu/protocol.ts'
import { Udmabuf } from '../../../src/host/linux/udmabuf/udmabuf.ts'
import { GpuGuest } from './gpu-guest.ts'
import { allBuffers, systemFigure } from './kernel.ts'

const { OK_NODATA } = GpuResponse
const ROUNDS = 10_000
const PAGES = 4
/** A mode of as many pages. */
const MODE = { width: 64, height: 64 }
/** Memory that the rest of the system may use meanwhile; one lost page per round would be 39 MiB. */
const NOISE_BYTES = 16 << 20

/** All uses of memory; a leaked page is in none of them. */
const KNOWN = ['MemFree', 'Buffers', 'Cached', 'AnonPages', 'Slab', 'KernelStack', 'PageTables'] as const

function knownBytes(): number {
  return KNOWN.reduce((sum, name) => sum + systemFigure(name), 0)
}

/** Creates a file and a buffer of it, uses the buffer, and closes both. */
function round(udmabuf: Udmabuf, index: number): void {
  const file = letteredFile(PAGES)
  const pages = [pagesOf(file, 3), pagesOf(file, 1), pagesOf(file, 0)]
  const buffer = udmabuf.create(index % 2 === 0 ? pages : pages.slice(1, 2), 'a buffer')
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

/** Runs `round` 10,000 times, and checks that nothing is left. */
function endure(round: (index: number) => void): void {
  for (let i = 0; i < 100; i++) round(i)
  const before = state()
  const [known, shared] = [knownBytes(), systemFigure('Shmem')]
  for (let i = 0; i < ROUNDS; i++) round(i)
  assert.deepEqual(state(), before)
  for (const lost of [known - knownBytes(), systemFigure('Shmem') - shared]) {
    assert.ok(lost < NOISE_BYTES, `${lost} bytes are lost`)
  }
}

test(`${ROUNDS} buffers leave no descriptor, buffer, pin or page`, () => {
  const udmabuf = Udmabuf.open()
  endure((index) => round(udmabuf, index))
  udmabuf.close()
})

test(`${ROUNDS} blobs, of guest memory and of the heap, leave nothing`, async () => {
  const guest = new GpuGuest()
  const entries = [guest.scatter(PAGES), guest.scatter(PAGES, PAGES)]
  endure((index) => {
    const [id, heap] = [1 + (index % 7), index % 8 === 0]
    if (heap) guest.fillHeap([id], MODE)
    else assert.equal(guest.createBlob(id, entries[index % 2]), OK_NODATA)
    assert.equal(guest.buffer.kind, 'dma-buf')
    if (index % 3 === 0) assert.equal(guest.gpu.setScanoutBlob(0, id, MODE).type, OK_NODATA)
    const back = index % 10 === 0 ? guest.imported() : undefined
    assert.equal(guest.gpu.unref(id).type, OK_NODATA)
    if (back) guest.closeImport(back)
  })
  assert.deepEqual([[...guest.buffers.buffers], guest.buffers.inspect().made.buffers], [[], ROUNDS + 100])
  await guest.close()
})
