import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GuestMemory } from './guest-memory.ts'
import { MemoryError } from './memory-error.ts'
import { MemoryRegion } from './memory-region.ts'
import { ScatterList } from './scatter-list.ts'
import { SpanList } from './span-list.ts'

/** Regions 0-63, 64-127 (adjacent) and 256-319. Every byte is its address modulo 251. */
function rig(): { memory: GuestMemory; log: number[][] } {
  const log: number[][] = []
  const regions = [0, 64, 256].map((base) =>
    MemoryRegion.over(
      base,
      Uint8Array.from({ length: 64 }, (_, i) => (base + i) % 251),
    ),
  )
  return { memory: new GuestMemory(regions, (address, length) => log.push([address, length])), log }
}

function bytesOf({ count, regions, offsets, lengths }: SpanList): number[] {
  return Array.from({ length: count }, (_, i) => [
    ...regions[i].u8.subarray(offsets[i], offsets[i] + lengths[i]),
  ]).flat()
}

test('adjacent ranges of a scatter list are merged, and ranges of length 0 are dropped', () => {
  const list = new ScatterList(rig().memory)
  list.add(0, 8)
  list.add(8, 8)
  list.add(99, 0)
  list.add(16, 4)
  list.add(24, 4)
  assert.equal(list.segmentCount, 2)
  assert.equal(list.byteLength, 24)
})

test('a range across adjacent regions becomes two, the first merged with its predecessor', () => {
  const list = new ScatterList(rig().memory)
  list.add(56, 4)
  list.add(60, 8)
  assert.equal(list.segmentCount, 2)
  const bytes = new Uint8Array(12)
  assert.equal(list.read(0, bytes), 12)
  assert.deepEqual(
    [...bytes],
    Array.from({ length: 12 }, (_, i) => 56 + i),
  )
})

test('a range outside guest memory throws a MemoryError and leaves the list unchanged', () => {
  const list = new ScatterList(rig().memory)
  list.add(0, 4)
  for (const [address, length] of [
    [128, 4],
    [120, 12],
    [316, 8],
    [2 ** 53, 4],
    [Number.NaN, 4],
    [0, -4],
    [0, Number.NaN],
    [-4, 8],
    [4, 2 ** 32],
  ]) {
    assert.throws(() => list.add(address, length), MemoryError)
  }
  assert.equal(list.byteLength, 4)
  assert.equal(list.segmentCount, 1)
})

test('a scatter list returns a view of the bytes if one range holds them', () => {
  const { memory } = rig()
  const list = new ScatterList(memory)
  list.add(16, 8)
  list.add(256, 8)
  const view = list.linear(8, 8)
  assert.deepEqual([...(view ?? [])], [5, 6, 7, 8, 9, 10, 11, 12])
  if (view) view[0] = 200
  assert.equal(memory.find(256)?.u8[0], 200)
  assert.equal(list.linear(4, 8), undefined, 'across two ranges')
  assert.equal(list.linear(12, 5), undefined, 'past the end')
  assert.equal(list.linear(-1, 2), undefined)
  assert.equal(list.linear(0, 0)?.length, 0)
})

test('a scatter list returns the spans of its bytes, merged with the last span of the given list', () => {
  const { memory } = rig()
  const list = new ScatterList(memory)
  list.add(16, 8)
  list.add(256, 8)
  const into = new SpanList()
  into.add(memory.regions[0], 12, 8)
  assert.ok(list.locate(4, 8, into))
  const spans = Array.from({ length: into.count }, (_, i) => [into.regions[i].base, into.offsets[i], into.lengths[i]])
  assert.deepEqual(spans, [
    [0, 12, 12],
    [256, 0, 4],
  ])
  assert.equal(into.byteLength, 16)
  assert.ok(!list.locate(9, 8, into), 'past the end')
  assert.ok(!list.locate(-1, 2, into))
  assert.ok(!list.locate(Number.NaN, 2, into))
  assert.equal(into.byteLength, 16)
})

test('ranges that were read before may grow, and move with their memory', () => {
  let buffer = new ArrayBuffer(1024)
  const region = new MemoryRegion(0, buffer.byteLength, () => ({ buffer, byteOffset: 0 }))
  const list = new ScatterList(new GuestMemory([region]))
  const read = (length: number) => {
    const bytes = new Uint8Array(length)
    assert.equal(list.read(0, bytes), length)
    return bytes
  }
  list.add(512, 100)
  list.add(0, 100)
  region.u8.fill(1, 512, 612)
  region.u8.fill(2, 0, 200)
  assert.deepEqual(read(200), region.u8.slice(0, 200).fill(1, 0, 100))
  list.add(100, 100)
  list.add(256, 100)
  region.u8.fill(3, 256, 356)
  const grown = new Uint8Array(400).fill(1).fill(2, 100).fill(3, 300)
  assert.deepEqual(read(400), grown)
  buffer = structuredClone(buffer, { transfer: [buffer] })
  assert.deepEqual(read(400), grown)
  region.u8.fill(4, 512, 612)
  assert.deepEqual(read(400), grown.fill(4, 0, 100))
})

test('reads and writes before the start or past the end of a scatter list copy nothing', () => {
  const list = new ScatterList(rig().memory)
  const bytes = new Uint8Array(4)
  assert.equal(list.read(0, bytes), 0)
  list.add(16, 8)
  assert.equal(list.read(-2, bytes), 0)
  assert.equal(list.read(8, bytes), 0)
  assert.equal(list.write(100, bytes), 0)
  assert.equal(list.read(6, bytes), 2)
  assert.deepEqual([...bytes], [22, 23, 0, 0])
  assert.equal(list.read(0, bytes, 3, 4), 1, 'limited by the target')
})

test('a write to a scatter list is reported for each range', () => {
  const { memory, log } = rig()
  const list = new ScatterList(memory)
  list.add(16, 4)
  list.add(256, 4)
  list.write(2, new Uint8Array(4))
  assert.deepEqual(log, [
    [18, 2],
    [256, 2],
  ])
})

test('a scatter list reads and writes like one sequence of bytes', () => {
  const place = fc.oneof(
    fc.tuple(fc.integer({ min: 0, max: 127 }), fc.integer({ min: 0, max: 100 })),
    fc.tuple(fc.integer({ min: 256, max: 319 }), fc.integer({ min: 0, max: 64 })),
  )
  fc.assert(
    fc.property(
      fc.array(place, { maxLength: 40 }),
      fc.array(fc.tuple(fc.nat(400), fc.nat(300), fc.boolean()), { minLength: 1, maxLength: 20 }),
      (pieces, accesses) => {
        const { memory } = rig()
        const list = new ScatterList(memory)
        const addresses: number[] = []
        for (const [address, length] of pieces) {
          if (!memory.contains(address, Math.max(length, 1))) continue
          list.add(address, length)
          for (let i = 0; i < length; i++) addresses.push(address + i)
        }
        assert.equal(list.byteLength, addresses.length)
        const byteAt = (address: number) => {
          const region = memory.find(address)
          return region?.u8[address - region.base]
        }
        for (const [offset, length, writes] of accesses) {
          const range = addresses.slice(offset, offset + length)
          const bytes = new Uint8Array(length)
          if (writes) {
            // The list may contain an address twice: writing one value everywhere makes the order irrelevant.
            bytes.fill(offset)
            assert.equal(list.write(offset, bytes), range.length)
            for (const address of range) assert.equal(byteAt(address), offset & 0xff)
          } else {
            assert.equal(list.read(offset, bytes), range.length)
            assert.deepEqual([...bytes.subarray(0, range.length)], range.map(byteAt))
            const view = list.linear(offset, range.length)
            if (view) assert.deepEqual([...view], range.map(byteAt))
            const spans = new SpanList()
            const all = offset + length <= addresses.length
            assert.equal(list.locate(offset, length, spans), all)
            assert.deepEqual(bytesOf(spans), all ? range.map(byteAt) : [])
          }
        }
      },
    ),
  )
})

test('a list follows the memory map: not present while any part is outside guest memory, then at its new place', () => {
  const { memory, log } = rig()
  const list = new ScatterList(memory)
  list.add(60, 8)
  const [low, middle, high] = memory.regions
  memory.replace([low, high])
  assert.equal(list.present, false)
  assert.equal(list.read(0, new Uint8Array(4)), 0)
  assert.equal(list.write(0, new Uint8Array(4)), 0)
  assert.equal(list.linear(0, 1), undefined)
  assert.equal(list.locate(0, 1, new SpanList()), false)
  assert.deepEqual([log, list.byteLength], [[], 8])
  const whole = MemoryRegion.over(
    0,
    Uint8Array.from({ length: 128 }, (_, i) => 200 - i),
  )
  memory.replace([whole, high])
  assert.deepEqual([list.present, list.segmentCount], [true, 1])
  const bytes = new Uint8Array(8)
  assert.equal(list.read(0, bytes), 8)
  assert.deepEqual([...bytes], [140, 139, 138, 137, 136, 135, 134, 133])
  memory.replace([low, middle, high])
  assert.deepEqual([list.present, list.segmentCount], [true, 2])
  assert.equal(list.read(0, bytes), 8)
  assert.deepEqual([...bytes], [60, 61, 62, 63, 64, 65, 66, 67])
})

test('the revision of a list changes exactly when it moves, leaves guest memory or returns', () => {
  const { memory } = rig()
  const list = new ScatterList(memory)
  list.add(0, 8)
  const [low, middle, high] = memory.regions
  const seen = [list.revision]
  for (const regions of [[low, middle], [middle], [high], [low, high], [low]]) {
    memory.replace(regions)
    seen.push(list.revision)
  }
  assert.deepEqual(
    seen.map((revision) => revision - seen[0]),
    [0, 0, 1, 1, 2, 2],
  )
})
