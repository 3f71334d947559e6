import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesKept, garbage, NOISE, STRETCHES } from '../../test/garbage.ts'
import { BarePair } from './testing/bare-pair.ts'

const ROUNDS = 20_000

test('the measurement detects garbage', () => {
  const kept: unknown[] = [undefined]
  assert.ok(
    garbage(() => {
      for (let i = 0; i < ROUNDS; i++) kept[0] = { i }
    }) > NOISE,
  )
})

for (const packed of [false, true]) {
  for (const layout of ['direct', 'indirect'] as const) {
    for (const inOrder of [false, true]) {
      const name = `${packed ? 'packed' : 'split'}, ${layout}${inOrder ? ', in order' : ''}`
      test(`requests in a steady state allocate no garbage and retain no memory (${name})`, () => {
        const pair = new BarePair({ packed, size: 64, eventIdx: true, inOrder })
        const { driver, queue } = pair
        const readable = [pair.part(16)]
        const writable = [pair.part(4096), pair.part(1)]
        let runs = 0
        const run = () => {
          runs++
          for (let round = 0; round < ROUNDS; round++) {
            for (let i = 0; i < 4; i++) driver.add(readable, writable, layout)
            driver.kick()
            for (let chain = queue.pop(); chain; chain = queue.pop()) {
              chain.writer.u32(chain.reader.u32() + 1)
              queue.push(chain, chain.writer.written)
            }
            queue.publish()
            while (driver.collect());
            driver.enableInterrupts()
          }
        }
        run()
        const before = bytesKept()
        assert.ok(garbage(run) < NOISE)
        assert.ok(bytesKept() - before < STRETCHES * NOISE)
        assert.equal(queue.counters.popped, runs * ROUNDS * 4)
      })
    }
  }
}
