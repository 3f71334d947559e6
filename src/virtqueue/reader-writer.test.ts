import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryRegion } from '../memory/memory-region.ts'
import { SpanList } from '../memory/span-list.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'

/** Reader and writer over spans of the given lengths, each in separate memory with gaps between the spans. */
function over(readable: readonly number[], writable: readonly number[]) {
  const spans = new SpanList()
  const memory = MemoryRegion.over(0, new Uint8Array(4096))
  const other = MemoryRegion.over(8192, new Uint8Array(4096))
  let at = 0
  let next = 0
  const place = (length: number, region: MemoryRegion) => {
    spans.add(region, at, length)
    for (let i = 0; region === memory && i < length; i++) memory.u8[at + i] = next++
    at += length + 3
  }
  for (const length of readable) place(length, memory)
  at = 0
  // Every second writable span is in the buffer of the readable ones, to test copies within one buffer.
  writable.forEach((length, i) => {
    spans.add(i % 2 === 0 ? other : memory, 2048 + at, length)
    at += length + 3
  })
  const sum = (lengths: readonly number[]) => lengths.reduce((a, b) => a + b, 0)
  const reader = new Reader(spans)
  const writer = new Writer(spans)
  reader.rewind(readable.length, sum(readable))
  writer.rewind(readable.length, spans.count, sum(writable))
  const written = () => {
    const bytes: number[] = []
    for (let i = readable.length; i < spans.count; i++) {
      bytes.push(...spans.regions[i].u8.subarray(spans.offsets[i], spans.offsets[i] + spans.lengths[i]))
    }
    return bytes
  }
  return { reader, writer, written, all: Array.from({ length: sum(readable) }, (_, i) => i & 0xff) }
}

const lengths = fc.array(fc.nat(90), { maxLength: 8 })

test('numbers are little-endian, also across spans  @virtio 1.4', () => {
  for (const cut of [[15], [1, 14], [2, 3, 10], Array(15).fill(1), [0, 6, 0, 0, 9]]) {
    const { reader, writer, written } = over(cut, cut)
    assert.equal(reader.u8(), 0)
    assert.equal(reader.u16(), 0x0201)
    assert.equal(reader.u32(), 0x06050403)
    assert.equal(reader.u64(), 0x0e0d0c0b * 2 ** 32 + 0x0a090807)
    assert.equal(reader.remaining, 0)
    writer.u8(0x11)
    writer.u16(0x3322)
    writer.u32(0xf7665544)
    writer.u64(0x1f_dead_beef_cafe)
    assert.deepEqual(
      written(),
      [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xf7, 0xfe, 0xca, 0xef, 0xbe, 0xad, 0xde, 0x1f, 0x00],
    )
    assert.equal(writer.written, 15)
    assert.equal(writer.remaining, 0)
  }
})

test('past the end numbers read as 0 and writes are ignored', () => {
  const { reader, writer, written } = over([1, 1], [2])
  assert.equal(reader.u32(), 0x0100)
  assert.equal(reader.u64(), 0)
  assert.equal(reader.remaining, 0)
  writer.u32(0x04030201)
  writer.u64(5)
  assert.deepEqual(written(), [1, 2])
  assert.equal(writer.written, 2)
  assert.equal(writer.remaining, 0)
})

test('a read returns the available bytes, and an exact read all bytes or none', () => {
  const { reader } = over([3, 4], [])
  const bytes = new Uint8Array(8)
  assert.equal(reader.readExactly(bytes), false)
  assert.equal(reader.remaining, 7)
  assert.equal(reader.readExactly(bytes.subarray(0, 4)), true)
  assert.equal(reader.read(bytes), 3)
  assert.equal(reader.read(bytes), 0)
  assert.deepEqual([...bytes], [4, 5, 6, 3, 0, 0, 0, 0])
})

test('lengths that exceed the array are reduced and do not throw', () => {
  const { reader, writer } = over([100], [100])
  const bytes = new Uint8Array(8)
  assert.equal(reader.read(bytes, 6, 70), 2)
  assert.equal(reader.read(bytes, 9, 70), 0)
  assert.equal(reader.read(bytes, 0, -1), 0)
  assert.equal(reader.remaining, 98)
  assert.equal(writer.write(bytes, 6, 70), 2)
  assert.equal(writer.write(bytes, 9), 0)
  assert.equal(writer.remaining, 98)
})

test('reads in any steps return the bytes of the chain in order', () => {
  fc.assert(
    fc.property(lengths, fc.array(fc.tuple(fc.nat(4), fc.nat(120))), (parts, steps) => {
      const { reader, all } = over(parts, [])
      let at = 0
      const number = (width: number) =>
        all.slice(at, at + width).reduce((value, byte, i) => value + byte * 2 ** (8 * i), 0)
      for (const [kind, length] of steps) {
        let took = 0
        if (kind === 0) {
          const bytes = new Uint8Array(length)
          took = reader.read(bytes)
          assert.deepEqual([...bytes.subarray(0, took)], all.slice(at, at + length))
        } else if (kind === 1) {
          took = reader.skip(length)
          assert.equal(took, Math.min(length, all.length - at))
        } else if (kind === 2) {
          assert.equal(reader.u8(), number(1))
          took = Math.min(1, all.length - at)
        } else if (kind === 3) {
          assert.equal(reader.u16(), number(2))
          took = Math.min(2, all.length - at)
        } else {
          assert.equal(reader.u32(), number(4))
          took = Math.min(4, all.length - at)
        }
        at += took
        assert.equal(reader.remaining, all.length - at)
      }
    }),
  )
})

test('writes in any steps fill the chain in order and change no other byte', () => {
  fc.assert(
    fc.property(lengths, fc.array(fc.tuple(fc.nat(5), fc.nat(120))), (parts, steps) => {
      const { writer, written } = over([], parts)
      const capacity = parts.reduce((a, b) => a + b, 0)
      const expected: number[] = []
      const put = (bytes: readonly number[]) => expected.push(...bytes.slice(0, capacity - expected.length))
      for (const [kind, length] of steps) {
        const bytes = Uint8Array.from({ length }, (_, i) => expected.length + i + 1)
        if (kind === 0) {
          assert.equal(writer.write(bytes), Math.min(length, capacity - expected.length))
          put([...bytes])
        } else if (kind === 1) {
          assert.equal(writer.zero(length), Math.min(length, capacity - expected.length))
          put(new Array(length).fill(0))
        } else if (kind === 2) {
          writer.u8(length)
          put([length])
        } else if (kind === 3) {
          writer.u16(length * 257)
          put([length, length])
        } else if (kind === 4) {
          writer.u32(length * 0x01010101)
          put([length, length, length, length])
        } else {
          // Skipped bytes count as written and stay 0.
          assert.equal(writer.skip(length), Math.min(length, capacity - expected.length))
          put(new Array(length).fill(0))
        }
        assert.equal(writer.written, expected.length)
        assert.equal(writer.remaining, capacity - expected.length)
      }
      const whole = [...expected, ...new Array(capacity - expected.length).fill(0)]
      assert.deepEqual(written(), whole)
    }),
  )
})

test('fill is called with each remaining span', () => {
  const { writer, written } = over([], [3, 0, 4])
  writer.u8(9)
  const pieces: number[] = []
  const filled = writer.fill((bytes) => {
    pieces.push(bytes.length)
    bytes.fill(7)
  })
  assert.equal(filled, 6)
  assert.deepEqual(pieces, [2, 4])
  assert.deepEqual(written(), [9, 7, 7, 7, 7, 7, 7])
  assert.equal(writer.remaining, 0)
})

test('a copy from readable to writable spans ends with the shorter of them', () => {
  fc.assert(
    fc.property(lengths, lengths, fc.nat(50), fc.nat(50), fc.nat(900), (from, to, skipped, before, length) => {
      const { reader, writer, written, all } = over(from, to)
      const capacity = to.reduce((a, b) => a + b, 0)
      reader.skip(skipped)
      const start = Math.min(before, capacity)
      writer.zero(before)
      const left = all.slice(skipped)
      const copied = Math.min(left.length, capacity - start, length)
      assert.equal(reader.copyTo(writer, length), copied)
      assert.deepEqual(written().slice(start, start + copied), left.slice(0, copied))
      assert.equal(reader.remaining, left.length - copied)
      assert.equal(writer.remaining, capacity - start - copied)
    }),
  )
})
