import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { ffiMissing, memoryAt } from '../ffi.ts'
import { Operation, OperationKind } from './operation.ts'
import { mappedMemory } from './testing/mapped-memory.ts'

const skip = ffiMissing() ?? false
const EINTR = -4
const EAGAIN = -11
const EIO = -5
const ENOSPC = -28

function spansOf(region: MemoryRegion, pieces: readonly (readonly [offset: number, length: number])[]): SpanList {
  const spans = new SpanList()
  for (const [offset, length] of pieces) spans.add(region, offset, length)
  return spans
}

/** Returns the memory offsets of all bytes that the vectors cover, in order. */
function covered(operation: Operation, region: { readonly address: number }): number[] {
  const words = new BigUint64Array(memoryAt(operation.vectorsAddress, operation.vectorCount * 16))
  const bytes: number[] = []
  for (let i = 0; i < words.length; i += 2) {
    const start = Number(words[i]) - region.address
    for (let at = 0; at < Number(words[i + 1]); at++) bytes.push(start + at)
  }
  return bytes
}

test('after a partial transfer, an operation continues at the next byte until all are moved', { skip }, () => {
  const memory = mappedMemory(65536)
  const piece = fc.tuple(fc.nat(60000), fc.integer({ min: 1, max: 300 }))
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 40 }), fc.infiniteStream(fc.nat(400)), (pieces, steps) => {
      const wanted = pieces.flatMap(([offset, length]) => Array.from({ length }, (_, i) => offset + i))
      const results: number[] = []
      let released = 0
      const operation = new Operation(() => released++)
      const spans = spansOf(memory.region, pieces)
      operation.beginMove(OperationKind.READ, 3, 5000, spans, { done: (result) => results.push(result) })
      const moved: number[] = []
      for (let again = true; again; ) {
        const left = covered(operation, memory.region)
        assert.deepEqual(left, wanted.slice(moved.length))
        assert.equal(operation.offset, 5000 + moved.length)
        assert.equal(operation.firstAddress - memory.region.address, left[0])
        const [step] = steps.take(1)
        const take = Math.min(step, left.length)
        moved.push(...left.slice(0, take))
        // 0 stands for an interrupted call here.
        again = operation.advance(take === 0 ? (step % 2 === 0 ? EINTR : EAGAIN) : take)
      }
      assert.deepEqual(moved, wanted)
      assert.deepEqual(results, [wanted.length])
      assert.equal(released, 1)
    }),
    { numRuns: 60 },
  )
  memory.close()
})

test('the end of the file and an error end an operation, also after a partial transfer', { skip }, () => {
  const memory = mappedMemory(65536)
  const spans = spansOf(memory.region, [
    [0, 100],
    [500, 100],
  ])
  for (const [last, outcome] of [
    [0, 30],
    [EIO, EIO],
    [ENOSPC, ENOSPC],
  ]) {
    const results: number[] = []
    const operation = new Operation(() => {})
    operation.beginMove(OperationKind.WRITE, 3, 0, spans, { done: (result) => results.push(result) })
    assert.ok(operation.advance(30))
    assert.ok(!operation.advance(last))
    assert.deepEqual(results, [outcome])
  }
  memory.close()
})

test('more pieces than one system call takes are split into several calls', { skip }, () => {
  const memory = mappedMemory(65536)
  const pieces = Array.from({ length: 2500 }, (_, i): [number, number] => [i * 16, 8])
  const results: number[] = []
  const operation = new Operation(() => {})
  const completion = { done: (result: number) => results.push(result) }
  operation.beginMove(OperationKind.READ, 3, 0, spansOf(memory.region, pieces), completion)
  assert.equal(operation.vectorCount, 1024)
  assert.ok(operation.advance(1024 * 8))
  assert.equal(operation.vectorCount, 1024)
  assert.ok(operation.advance(1024 * 8))
  assert.equal(operation.vectorCount, 2500 - 2048)
  assert.ok(!operation.advance((2500 - 2048) * 8))
  assert.deepEqual(results, [2500 * 8])
  memory.close()
})

test('memory that is not mapped is refused before any I/O', { skip }, () => {
  const operation = new Operation(() => {})
  const spans = spansOf(MemoryRegion.over(0, new Uint8Array(64)), [[0, 64]])
  assert.throws(() => operation.beginMove(OperationKind.READ, 3, 0, spans, { done() {} }), RangeError)
})
