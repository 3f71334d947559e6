import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryRegion } from './memory-region.ts'
import { SpanList } from './span-list.ts'

/** Never accessed, so that it can have the maximum size of a region. */
const untouched = (base: number) => new MemoryRegion(base, 0xffff_fffc, () => assert.fail('the bytes were accessed'))

test('a span list grows and keeps its spans', () => {
  const region = untouched(0)
  const spans = new SpanList(1)
  for (let i = 0; i < 100; i++) spans.add(region, i * 10, i)
  assert.equal(spans.count, 100)
  assert.equal(spans.byteLength, 4950)
  for (let i = 0; i < 100; i++) assert.deepEqual([spans.offsets[i], spans.lengths[i]], [i * 10, i])
  spans.clear()
  assert.equal(spans.count, 0)
  assert.equal(spans.byteLength, 0)
})

test('adjacent spans of one region are merged up to a length of 32 bits', () => {
  const [low, high] = [untouched(0), untouched(2 ** 32)]
  const spans = new SpanList(1)
  spans.merge(low, 0, 4)
  spans.merge(low, 4, 4)
  spans.merge(high, 8, 4)
  spans.merge(low, 12, 4)
  spans.merge(low, 12, 4)
  spans.merge(low, 16, 0xffff_ffe0)
  assert.deepEqual([...spans.lengths.subarray(0, spans.count)], [8, 4, 4, 0xffff_ffe4])
  assert.equal(spans.byteLength, 8 + 4 + 4 + 0xffff_ffe4)
  spans.merge(low, 0xffff_fff0, 12)
  spans.merge(low, 0xffff_fffc, 0)
  assert.equal(spans.count, 4)
  spans.add(low, 0xffff_fffc, 0)
  assert.equal(spans.count, 5)
})
