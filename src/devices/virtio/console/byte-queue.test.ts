import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { Writer } from '../../../virtqueue/writer.ts'
import { ByteQueue } from './byte-queue.ts'

function writerOver(region: MemoryRegion, length: number): Writer {
  const spans = new SpanList()
  spans.add(region, 8, length)
  const writer = new Writer(spans)
  writer.rewind(0, 1, length)
  return writer
}

test('bytes are moved in order, each once, up to the capacity', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 20 })), { maxLength: 200 }), (steps) => {
      const queue = new ByteQueue(16)
      const model: number[] = []
      let next = 0
      for (const [put, count] of steps) {
        if (put) {
          // Every second time from the middle of an array, like a second call with the rest.
          const offset = count % 2
          const source = Uint8Array.from({ length: count + offset }, (_, i) => next + i - offset)
          const taken = queue.put(source, offset)
          assert.equal(taken, Math.min(count, 16 - model.length))
          for (let i = 0; i < taken; i++) model.push((next + i) & 0xff)
          next = (next + taken) & 0xff
        } else {
          const region = MemoryRegion.over(0, new Uint8Array(64))
          const writer = writerOver(region, count)
          const moved = queue.moveTo(writer)
          assert.deepEqual([...region.u8.subarray(8, 8 + moved)], model.splice(0, count))
          assert.equal(writer.written, moved)
        }
        assert.equal(queue.length, model.length)
      }
    }),
  )
})

test('a cleared queue is empty and has its full capacity', () => {
  const queue = new ByteQueue(16)
  queue.put(new Uint8Array(10))
  queue.clear()
  assert.equal(queue.length, 0)
  assert.equal(queue.put(new Uint8Array(20)), 16)
  assert.equal(queue.moveTo(writerOver(MemoryRegion.over(0, new Uint8Array(64)), 0)), 0)
})
