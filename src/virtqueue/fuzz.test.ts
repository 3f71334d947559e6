import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { MemoryRegion } from '../memory/memory-region.ts'
import type { Chain } from './chain.ts'
import { DESC_BYTES } from './ring-layout.ts'
import { BarePair } from './testing/bare-pair.ts'
import { GuardedMemory } from './testing/guarded-memory.ts'

const LOW = 1 << 16
const HIGH = 2 ** 33
const layout = [
  [0, LOW],
  [LOW, 4096],
  [HIGH, 4096],
] as const

/** Generator of random 32-bit numbers (xorshift32), fast enough to fill megabytes and reproducible by its seed. */
function generator(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

/** Writes a descriptor that is often valid: mostly addresses near guest memory, short lengths and common flags. */
function scribbleDescriptor(words: Uint32Array, at: number, next: () => number): void {
  const kind = next() % 16
  words[at] = kind === 0 ? next() : next() % (LOW + 8192)
  words[at + 1] = kind === 1 ? next() : kind < 4 ? HIGH / 2 ** 32 : 0
  words[at + 2] = kind === 5 ? next() : kind < 8 ? (next() % 64) * DESC_BYTES : next() % 3000
  // Flags in both halves, since split and packed rings use different ones. About half are available in either round.
  const flags = () => (next() & 7 & next()) | [0, 0x80, 0x8000, 0x80, 0x8000, 0x8080][next() % 6]
  words[at + 3] = kind === 9 ? next() : (next() % 2 === 0 ? flags() : next() % 20) | (flags() << 16)
}

function scribble(region: MemoryRegion, next: () => number): void {
  const words = region.u32
  for (let at = 0; at + 4 <= words.length; at += 4) scribbleDescriptor(words, at, next)
}

/** Reads and writes a chain in steps of any size, like a careless device. @returns the length to push */
function use(chain: Chain, bytes: Uint8Array, next: () => number): number {
  for (let steps = 20; steps > 0 && chain.reader.remaining > 0; steps--)
    chain.reader.read(bytes, 0, next() % bytes.length)
  for (let steps = 20; steps > 0 && chain.writer.remaining > 0; steps--) {
    // The chain may overlap the rings.
    bytes.fill(next())
    chain.writer.write(bytes, 0, next() % bytes.length)
  }
  return next() % 2 === 0 ? chain.writer.written : next()
}

function assertInside(chain: Chain): void {
  const { spans } = chain
  let length = 0
  for (let i = 0; i < spans.count; i++) {
    assert.ok(spans.lengths[i] > 0)
    assert.ok(spans.offsets[i] + spans.lengths[i] <= spans.regions[i].size)
    length += spans.lengths[i]
  }
  assert.equal(chain.readableLength + chain.writableLength, length)
  assert.ok(chain.readableSpans <= spans.count)
  assert.ok(length <= 2 ** 32)
}

const options = fc.record({
  packed: fc.boolean(),
  size: fc.constantFrom(1, 2, 4, 16, 64),
  eventIdx: fc.boolean(),
  inOrder: fc.boolean(),
  indirect: fc.boolean(),
})

test('random bytes in rings, tables and all other guest memory do no harm', () => {
  let chains = 0
  let malformed = 0
  let broken = 0
  fc.assert(
    fc.property(options, fc.integer(), (setup, seed) => {
      const next = generator(seed)
      const guarded = new GuardedMemory(layout)
      const pair = new BarePair({ ...setup, memory: guarded.memory })
      const bytes = new Uint8Array(4096)
      const held: Chain[] = []
      for (let round = 0; round < 20 && pair.breaks.length === 0; round++) {
        for (const region of guarded.memory.regions) if (next() % 4 === 0 || round === 0) scribble(region, next)
        // Random bytes rarely contain a valid available index of a split ring, so it is set here.
        const { driverArea } = pair.driver.addresses
        if (!setup.packed)
          guarded.memory.regions[0].u16[driverArea / 2 + 1] = pair.queue.position.available + (next() % 4)
        let popped = 0
        for (let chain = pair.queue.pop(); chain; chain = pair.queue.pop()) {
          popped++
          assert.ok(popped <= setup.size, 'more chains popped than the ring has descriptors')
          assertInside(chain)
          if (next() % 4 === 0) held.push(chain)
          else pair.queue.push(chain, use(chain, bytes, next))
        }
        chains += popped
        while (next() % 2 === 0 && held.length > 0) {
          const [chain] = held.splice(next() % held.length, 1)
          pair.queue.push(chain, use(chain, bytes, next))
        }
        pair.queue.publish()
      }
      assert.ok(pair.breaks.length <= 1)
      assert.ok(pair.queue.position.inFlight <= setup.size)
      malformed += pair.queue.counters.malformed
      broken += pair.breaks.length
      assert.ok(guarded.isIntact)
    }),
    { numRuns: 400 },
  )
  // The test is meaningful only if chains are served, malformed and broken.
  assert.ok(chains > 200 && malformed > 200 && broken > 20, `${chains} served, ${malformed} refused, ${broken} broken`)
})
