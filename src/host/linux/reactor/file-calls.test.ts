import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { bytesKept } from '../../../../test/garbage.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { ffiMissing } from '../ffi.ts'
import { uringRefused } from './create-reactor.ts'
import { FileCalls } from './file-calls.ts'
import { Operation, OperationKind } from './operation.ts'
import { Spin } from './spin.ts'
import { mappedMemory } from './testing/mapped-memory.ts'
import { runWith } from './testing/run-with.ts'
import { TurnReactor } from './turn-reactor.ts'
import { UringBackend } from './uring-backend.ts'

const folder = mkdtempSync(join(tmpdir(), 'outboard-file-calls-'))
after(() => rmSync(folder, { recursive: true }))

const BLOCK = 4096
const BLOCKS = 2000

/** Returns bytes that differ in each block. */
function content(): Uint8Array {
  const bytes = new Uint8Array(BLOCKS * BLOCK)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i >>> 12) * 31 + i * 7
  return bytes
}

test('waiting operations complete over several turns, in order and completely', { skip: ffiMissing() ?? false }, () => {
  const path = join(folder, 'turns')
  writeFileSync(path, new Uint8Array(BLOCKS * BLOCK))
  const fd = openSync(path, 'r+')
  const { region, close } = mappedMemory(BLOCKS * BLOCK)
  region.u8.set(content())
  const calls = new FileCalls()
  const order: number[] = []
  for (let i = 0; i < BLOCKS; i++) {
    const spans = new SpanList(1)
    spans.add(region, i * BLOCK, BLOCK)
    const operation = new Operation(() => {})
    operation.beginMove(OperationKind.WRITE, fd, i * BLOCK, spans, { done: () => order.push(i) })
    calls.add(operation)
  }
  let turns = 0
  while (calls.turn()) turns++
  assert.deepEqual(
    order,
    Array.from({ length: BLOCKS }, (_, i) => i),
  )
  assert.ok(turns > 1 && turns <= BLOCKS, `${turns} turns`)
  assert.equal(calls.waiting, false)
  assert.deepEqual(new Uint8Array(readFileSync(path)), content())
  closeSync(fd)
  close()
})

test('completed operations are not retained while others always wait', { skip: ffiMissing() ?? false }, () => {
  const { region, close } = mappedMemory(BLOCK)
  const spans = new SpanList(1)
  spans.add(region, 0, BLOCK)
  const calls = new FileCalls()
  const free: Operation[] = []
  let count = 0
  const add = (): void => {
    const operation = free.pop() ?? new Operation((done) => free.push(done))
    operation.beginMove(OperationKind.WRITE, -1, 0, spans, { done })
    calls.add(operation)
  }
  const done = (): void => {
    count++
    add()
  }
  const run = (rounds: number): number => {
    for (const end = count + rounds; count < end; ) calls.turn()
    return bytesKept()
  }
  add()
  add()
  const before = run(20_000)
  const grown = run(200_000) - before
  assert.ok(grown < 200_000, `${grown} bytes retained`)
  close()
})

test('after a write that waited for the disk, the ring does the writes', {
  skip: uringRefused() ?? false,
}, async () => {
  const path = join(folder, 'slow')
  writeFileSync(path, new Uint8Array(BLOCKS * BLOCK))
  const fd = openSync(path, 'r+')
  const { region, close } = mappedMemory(BLOCKS * BLOCK)
  region.u8.set(content())
  // With a limit of 0 ms, every call counts as slow.
  const calls = new FileCalls(0)
  const reactor = new TurnReactor(new UringBackend(calls), new Spin(0))
  const results: number[] = []
  await runWith(
    reactor,
    () =>
      new Promise((resolve) => {
        for (let i = 0; i < BLOCKS; i++) {
          const spans = new SpanList(1)
          spans.add(region, i * BLOCK, BLOCK)
          const done = (result: number): void => {
            if (results.push(result) === BLOCKS) resolve()
          }
          reactor.writeSpans(fd, i * BLOCK, spans, { done })
        }
      }),
  )
  assert.deepEqual(new Set(results), new Set([BLOCK]))
  assert.deepEqual(new Uint8Array(readFileSync(path)), content())
  assert.ok(reactor.slowCalls > 0 && reactor.slowCalls < BLOCKS, `${reactor.slowCalls} calls`)
  reactor.close()
  closeSync(fd)
  close()
})
