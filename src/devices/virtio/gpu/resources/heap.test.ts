import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SpanList } from '../../../../memory/span-list.ts'
import { GpuResponse as R } from '../protocol.ts'
import { MemoryHeap } from '../testing/memory-heap.ts'
import { MemoryBuffer } from '../testing/memory-sharing.ts'
import { GpuHeap, type HeapBlock } from './heap.ts'
import { RangeMap } from './heap-ranges.ts'

const PAGE = 4096

function heapOf(pages: number, storePages = pages) {
  const memory = new MemoryHeap(pages * PAGE, storePages * PAGE)
  return { memory, heap: new GpuHeap(memory) }
}

function create(heap: GpuHeap, size: number): HeapBlock {
  const block = heap.create(size)
  assert.ok(block)
  return block
}

function first(block: HeapBlock): number {
  const byte = new Uint8Array(1)
  return block.read(0, byte, 0, 1) === 1 ? byte[0] : -1
}

test('a block is whole pages, and all blocks together do not exceed the quota', () => {
  const { heap } = heapOf(4)
  const block = create(heap, 1)
  assert.equal(block.length, PAGE)
  assert.equal(heap.create(3 * PAGE + 1), undefined)
  assert.equal(create(heap, 3 * PAGE).length, 3 * PAGE)
  assert.equal(heap.create(1), undefined)
  heap.free(block)
  assert.equal(create(heap, PAGE).length, PAGE)
  for (const size of [0, -1, Number.NaN, 2 ** 53]) assert.equal(heap.create(size), undefined)
})

test('the memory of a mapped block is the window at its offset', () => {
  const { heap, memory } = heapOf(4)
  const block = create(heap, PAGE)
  assert.equal(first(block), -1)
  assert.equal(heap.map(block, 2 * PAGE), R.OK_NODATA)
  memory.window.u8[2 * PAGE] = 7
  assert.equal(first(block), 7)
  const spans = new SpanList()
  assert.ok(block.locate(0, PAGE, spans))
  assert.deepEqual([spans.regions[0], spans.offsets[0], spans.lengths[0]], [memory.window, 2 * PAGE, PAGE])
  assert.ok(!block.locate(1, PAGE, spans))
})

test('a block is mapped once, page-aligned, within the window, and without overlap', () => {
  const { heap } = heapOf(4)
  const [one, two] = [create(heap, 2 * PAGE), create(heap, 2 * PAGE)]
  for (const offset of [1, 2048, 3 * PAGE, 4 * PAGE, 2 ** 40, 2 ** 53]) {
    assert.equal(heap.map(one, offset), R.ERR_INVALID_PARAMETER, `${offset}`)
  }
  assert.equal(heap.map(one, PAGE), R.OK_NODATA)
  assert.equal(heap.map(one, PAGE), R.ERR_INVALID_PARAMETER)
  assert.equal(heap.map(one, 0), R.ERR_INVALID_PARAMETER)
  for (const offset of [0, PAGE, 2 * PAGE]) assert.equal(heap.map(two, offset), R.ERR_INVALID_PARAMETER, `${offset}`)
  assert.equal(heap.unmap(two), R.ERR_INVALID_PARAMETER)
  assert.equal(heap.unmap(one), R.OK_NODATA)
  assert.equal(heap.unmap(one), R.ERR_INVALID_PARAMETER)
})

test('a block that is unmapped keeps its place until another block is mapped there', () => {
  const { heap, memory } = heapOf(4, 8)
  const [one, two] = [create(heap, 2 * PAGE), create(heap, 2 * PAGE)]
  heap.map(one, 0)
  memory.window.u8.fill(1, 0, 2 * PAGE)
  heap.unmap(one)
  assert.equal(heap.inspect().moves, 0)
  assert.equal(heap.map(one, 0), R.OK_NODATA)
  assert.equal(heap.inspect().moves, 0)
  heap.unmap(one)
  assert.equal(heap.map(two, PAGE), R.OK_NODATA)
  assert.deepEqual({ moves: heap.inspect().moves, stored: heap.inspect().stored }, { moves: 1, stored: 1 })
  assert.equal(first(one), 1)
  assert.ok(memory.window.u8.every((byte) => byte === 0))
  assert.equal(heap.map(one, 0), R.ERR_INVALID_PARAMETER)
  heap.unmap(two)
  assert.equal(heap.map(one, PAGE), R.OK_NODATA)
  assert.deepEqual([...new Set(memory.window.u8.subarray(PAGE, 3 * PAGE))], [1])
  assert.ok(memory.store.u8.every((byte) => byte === 0))
})

test('a block can be mapped to a place that overlaps its own', () => {
  const { heap, memory } = heapOf(8)
  const block = create(heap, 2 * PAGE)
  heap.map(block, 0)
  memory.window.u8.fill(3, 0, 2 * PAGE)
  heap.unmap(block)
  assert.equal(heap.map(block, PAGE), R.OK_NODATA)
  assert.deepEqual([...new Set(memory.window.u8.subarray(PAGE, 3 * PAGE))], [3])
  assert.equal(memory.window.u8[0], 0)
})

test('mapping over an unmapped block fails without loss if the store is full', () => {
  const { heap, memory } = heapOf(4, 1)
  const [one, two] = [create(heap, 2 * PAGE), create(heap, 2 * PAGE)]
  heap.map(one, 0)
  memory.window.u8[0] = 9
  heap.unmap(one)
  assert.equal(heap.map(two, 0), R.ERR_OUT_OF_MEMORY)
  assert.equal(first(one), 9)
  assert.equal(heap.map(two, 2 * PAGE), R.OK_NODATA)
})

test('freeing a block, mapped or not, clears its memory', () => {
  const { heap, memory } = heapOf(4)
  const block = create(heap, 2 * PAGE)
  heap.map(block, PAGE)
  memory.window.u8.fill(5, PAGE, 3 * PAGE)
  heap.free(block)
  assert.deepEqual(memory.discarded, [{ where: 'window', offset: PAGE, length: 2 * PAGE }])
  assert.equal(first(block), -1)
  const next = create(heap, 4 * PAGE)
  assert.equal(heap.map(next, 0), R.OK_NODATA)
  assert.equal(heap.inspect().mapped, 1)
  heap.free(next)
  assert.deepEqual(heap.inspect(), { blocks: 0, bytes: 0, quota: 4 * PAGE, mapped: 0, held: 0, stored: 0, moves: 0 })
})

test('blocks in the store are separated by an unused page', () => {
  const { heap, memory } = heapOf(4, 16)
  const blocks = [create(heap, PAGE), create(heap, PAGE)]
  for (const [i, block] of blocks.entries()) {
    heap.map(block, 0)
    memory.window.u8.fill(i + 1, 0, PAGE)
    heap.unmap(block)
  }
  heap.map(create(heap, PAGE), 0)
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((page) => memory.store.u8[page * PAGE]),
    [1, 0, 2, 0, 0],
  )
})

test('ranges of different owners do not overlap, and findFree keeps the guard', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), fc.boolean()), { maxLength: 60 }), (steps) => {
      const ranges = new RangeMap(64)
      const owners: { offset: number; length: number }[] = []
      for (const [length, give] of steps) {
        if (give) {
          const owner = owners.splice(length % (owners.length + 1), 1)[0]
          if (owner) ranges.remove(owner)
          continue
        }
        const offset = ranges.findFree(length, 1)
        if (offset === undefined) continue
        assert.deepEqual(ranges.overlapping(offset - 1, length + 2), [])
        assert.ok(offset >= 0 && offset + length <= 64)
        const owner = { offset, length }
        ranges.add(owner)
        owners.push(owner)
      }
      const sorted = owners.sort((a, b) => a.offset - b.offset)
      assert.deepEqual(ranges.overlapping(0, 64), sorted)
      for (const owner of sorted) assert.deepEqual(ranges.overlapping(owner.offset, owner.length), [owner])
    }),
  )
})

test('each block keeps its bytes in any sequence of map, unmap and free', () => {
  const kinds = ['create', 'map', 'unmap', 'free', 'write', 'share', 'let go'] as const
  const step = fc.tuple(fc.constantFrom(...kinds), fc.nat(7), fc.nat(15))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const { heap, memory } = heapOf(16)
      const blocks: { block: HeapBlock; byte: number; at: HeapBlock['place'] }[] = []
      const held: { block: HeapBlock; byte: number; buffer: MemoryBuffer }[] = []
      for (const [what, which, number] of steps) {
        const at = which % Math.max(1, blocks.length)
        const chosen = blocks[at]
        if (what === 'create') {
          const block = heap.create((1 + (number % 4)) * PAGE)
          if (block) blocks.push({ block, byte: 0, at: undefined })
        } else if (what === 'let go') {
          const [free] = held.splice(which % Math.max(1, held.length), 1)
          if (free) free.buffer.held = false
        } else if (!chosen) continue
        else if (what === 'map') heap.map(chosen.block, number * PAGE)
        else if (what === 'unmap') heap.unmap(chosen.block)
        else if (what === 'free') {
          const { block, byte } = chosen
          const { shared } = block
          heap.free(block)
          blocks.splice(at, 1)
          if (shared instanceof MemoryBuffer) held.push({ block, byte, buffer: shared })
        } else if (what === 'share') {
          if (!chosen.block.place || chosen.block.shared) continue
          const buffer = new MemoryBuffer('', 'linear', chosen.block.length, () => new Uint8Array())
          buffer.held = true
          chosen.block.shared = buffer
          chosen.at = chosen.block.place
        } else if (chosen.block.mapped && chosen.block.place) {
          chosen.byte = number + 1
          const { offset } = chosen.block.place
          memory.window.u8.fill(chosen.byte, offset, offset + chosen.block.length)
        }
        for (const { block, at } of blocks) if (at) assert.equal(block.place, at)
        for (const { block, byte } of [...blocks, ...held]) {
          if (!block.place) continue
          const bytes = new Uint8Array(block.length)
          assert.equal(block.read(0, bytes, 0, bytes.length), block.length)
          assert.ok(bytes.every((value) => value === byte))
        }
      }
      const { bytes } = heap.inspect()
      assert.equal(
        bytes,
        [...blocks, ...held].reduce((sum, { block }) => sum + block.length, 0),
      )
      for (const { buffer } of held) buffer.held = false
      for (const { block } of blocks) {
        block.shared = undefined
        heap.free(block)
      }
      assert.equal(heap.inspect().blocks, 0)
      assert.ok(memory.window.u8.every((byte) => byte === 0) && memory.store.u8.every((byte) => byte === 0))
    }),
    { numRuns: 60 },
  )
})
