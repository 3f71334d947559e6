import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GuestMemory } from './guest-memory.ts'
import { MemoryError } from './memory-error.ts'
import { MemoryRegion } from './memory-region.ts'
import { SpanList } from './span-list.ts'

const region = (base: number, size: number) => MemoryRegion.over(base, new Uint8Array(size))

test('regions may be given in any order but must not overlap', () => {
  const memory = new GuestMemory([region(256, 64), region(0, 64)])
  assert.deepEqual(
    memory.regions.map((one) => one.base),
    [0, 256],
  )
  assert.throws(() => new GuestMemory([region(0, 64), region(60, 64)]), MemoryError)
})

test('after a replacement of the regions, translations return the new regions', () => {
  const log: number[][] = []
  const memory = new GuestMemory([region(0, 64), region(256, 64)])
  const spans = new SpanList()
  assert.ok(memory.translate(256, 4, spans))
  memory.replace([region(128, 64)])
  assert.equal(memory.find(256), undefined)
  assert.equal(memory.find(130), memory.regions[0])
  assert.equal(spans.regions[0].base, 256, 'an earlier translation keeps its region')
  memory.onWrite = (address, length) => log.push([address, length])
  memory.wrote(memory.regions[0], 8, 4)
  assert.deepEqual(log, [[136, 4]])
  assert.throws(() => memory.replace([region(0, 64), region(60, 64)]), MemoryError)
  assert.equal(memory.regions[0].base, 128, 'an invalid replacement changes nothing')
})

test('without regions every address is outside guest memory', () => {
  const memory = new GuestMemory([])
  const spans = new SpanList()
  assert.equal(memory.find(0), undefined)
  assert.equal(memory.contains(0, 1), false)
  assert.equal(memory.translate(0, 4, spans), false)
  memory.replace([region(0, 64)])
  assert.equal(memory.translate(0, 4, spans), true)
  memory.replace([])
  assert.equal(memory.find(0), undefined)
})

test('addresses above 4 GiB are translated', () => {
  const high = 0x12_3456_7000
  const memory = new GuestMemory([region(0, 64), region(high, 64)])
  const spans = new SpanList()
  assert.equal(memory.translate(high + 8, 4, spans), true)
  assert.equal(spans.regions[0].base, high)
  assert.equal(spans.offsets[0], 8)
})

test('a failed translation adds no spans', () => {
  const memory = new GuestMemory([region(0, 64), region(64, 64)])
  const spans = new SpanList()
  spans.add(memory.regions[0], 0, 4)
  assert.equal(memory.translate(60, 100, spans, true), false)
  assert.equal(spans.count, 1)
  assert.equal(spans.byteLength, 4)
})

test('translations cover exactly the bytes of the regions, for any layout', () => {
  const layout = fc.array(fc.tuple(fc.nat(8), fc.integer({ min: 1, max: 8 })), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(layout, fc.nat(300), fc.nat(300), (gaps, address, length) => {
      let end = 0
      const regions = gaps.map(([gap, words]) => {
        const one = region(end + gap * 4, words * 4)
        end = one.base + one.size
        return one
      })
      const memory = new GuestMemory(regions)
      const inside = (at: number) => regions.some((one) => at >= one.base && at < one.base + one.size)
      const expected = Array.from({ length: Math.max(length, 1) }, (_, i) => address + i).every(inside)
      assert.equal(memory.contains(address, length), expected)
      const spans = new SpanList(1)
      assert.equal(memory.translate(address, length, spans), expected)
      const covered: number[] = []
      for (let i = 0; i < spans.count; i++) {
        for (let at = 0; at < spans.lengths[i]; at++) covered.push(spans.regions[i].base + spans.offsets[i] + at)
      }
      assert.deepEqual(covered, expected ? Array.from({ length }, (_, i) => address + i) : [])
      for (const at of [address, address + length]) assert.equal(memory.find(at) !== undefined, inside(at))
    }),
  )
})

test('numbers that are not addresses are outside guest memory', () => {
  const memory = new GuestMemory([region(0, 64)])
  for (const address of [-1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 64]) {
    assert.equal(memory.find(address), undefined)
    assert.equal(memory.contains(address, 1), false)
  }
  assert.equal(memory.contains(0, 2 ** 53), false)
})

test('onMiss is called with an address that no region covers', () => {
  const memory = new GuestMemory([MemoryRegion.over(0x1000, new Uint8Array(0x1000))])
  const missed: number[] = []
  memory.onMiss = (address) => missed.push(address)
  memory.find(0x1fff)
  memory.find(0x2000)
  memory.contains(0x1ff0, 0x20)
  memory.replace([])
  memory.find(0x1000)
  assert.deepEqual(missed, [0x2000, 0x2000, 0x1000])
})
