import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ChainJournal, SavedChain } from './chain-journal.ts'
import { createDeviceQueue } from './create-device-queue.ts'
import type { QueueControl, RingPosition } from './device-queue.ts'
import { BarePair } from './testing/bare-pair.ts'

/** Journal that records each step with the chain's id, and descriptors by chain id. */
class Recorder implements ChainJournal {
  readonly steps: string[] = []
  readonly words = new Map<number, number[]>()
  #reading: number[] = []

  constructor(readonly unfinished: readonly SavedChain[] = []) {}

  descriptor(words: Uint32Array, at: number): void {
    this.#reading.push(...words.subarray(at, at + 4))
  }

  taken(chain: { id: number }): void {
    this.steps.push(`taken ${chain.id}`)
    this.words.set(chain.id, this.#reading)
    this.#reading = []
  }

  resumed(chain: { id: number }, saved: SavedChain): void {
    this.steps.push(`resumed ${saved.id}`)
    assert.ok(chain)
  }

  used(chain: { id: number }): void {
    this.steps.push(`used ${chain.id}`)
  }

  exposing(used: number): void {
    this.steps.push(`exposing ${used}`)
  }

  exposed(): void {
    this.steps.push('exposed')
  }
}

function resumeQueue(pair: BarePair, packed: boolean, start: RingPosition, journal?: ChainJournal): QueueControl {
  pair.queue.detach()
  return createDeviceQueue({
    index: 0,
    size: pair.driver.size,
    packed,
    eventIdx: false,
    inOrder: false,
    indirect: true,
    memory: pair.memory,
    ...pair.driver.addresses,
    start,
    journal,
    interrupt: () => {},
    onBroken: (reason) => pair.breaks.push(reason),
  })
}

for (const packed of [false, true]) {
  const ring = packed ? 'packed' : 'split'

  test(`${ring}: a new queue resumes at the position of the previous one, after any number of rounds`, () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 30 }), (batches) => {
        const pair = new BarePair({ packed, size: 4 })
        let queue = pair.queue
        for (const batch of batches) {
          for (let i = 0; i < batch; i++) assert.ok(pair.driver.add([], [pair.part(16)]) >= 0)
          pair.driver.kick()
          queue = resumeQueue(pair, packed, queue.position)
          for (let i = 0; i < batch; i++) {
            const chain = queue.pop()
            assert.ok(chain)
            queue.push(chain, i)
          }
          assert.equal(queue.pop(), undefined)
          queue.publish()
          for (let i = 0; i < batch; i++) {
            assert.ok(pair.driver.collect())
            assert.equal(pair.driver.written, i)
          }
        }
        assert.deepEqual(pair.breaks, [])
      }),
    )
  })

  test(`${ring}: a journal records each chain in order, and each batch right before and after it becomes visible`, () => {
    const journal = new Recorder()
    const pair = new BarePair({ packed, size: 8 })
    const queue = resumeQueue(pair, packed, { available: 0, used: 0 }, journal)
    const ids = [pair.driver.add([pair.part(8)], [pair.part(8)]), pair.driver.add([], [pair.part(8)])]
    pair.driver.kick()
    const first = queue.pop()
    const second = queue.pop()
    assert.ok(first && second)
    queue.push(second, 1)
    queue.push(first, 1)
    queue.publish()
    assert.deepEqual(journal.steps, [
      `taken ${ids[0]}`,
      `taken ${ids[1]}`,
      `used ${ids[1]}`,
      `used ${ids[0]}`,
      `exposing ${packed ? 3 : 2}`,
      'exposed',
    ])
  })

  test(`${ring}: a malformed chain is recorded in the journal too`, () => {
    const journal = new Recorder()
    const pair = new BarePair({ packed, size: 8 })
    const queue = resumeQueue(pair, packed, { available: 0, used: 0 }, journal)
    const id = pair.driver.add([{ address: 2 ** 40, length: 8 }], [])
    pair.driver.kick()
    assert.equal(queue.pop(), undefined)
    assert.deepEqual(journal.steps, [`taken ${id}`, `used ${id}`, 'exposing 1', 'exposed'])
  })

  test(`${ring}: unfinished chains are popped first, in the journal's order, then new ones`, () => {
    const before = new Recorder()
    const pair = new BarePair({ packed, size: 8 })
    const dead = resumeQueue(pair, packed, { available: 0, used: 0 }, before)
    const ids = [1, 2, 3].map((length) => pair.driver.add([pair.part(length)], [pair.part(32)]))
    pair.driver.kick()
    for (const _ of ids) assert.ok(dead.pop())
    const saved = [ids[2], ids[0], ids[1]].map((id) => ({
      id,
      descriptors: Uint32Array.from(before.words.get(id) ?? []),
    }))
    const journal = new Recorder(saved)
    const queue = resumeQueue(pair, packed, dead.position, journal)
    const next = pair.driver.add([], [pair.part(8)])
    pair.driver.kick()
    const lengths: number[] = []
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      lengths.push(chain.readableLength)
      queue.push(chain, 4)
    }
    queue.publish()
    assert.deepEqual(lengths, [3, 1, 2, 0])
    assert.deepEqual(journal.steps.slice(0, 4), [
      `resumed ${ids[2]}`,
      `used ${ids[2]}`,
      `resumed ${ids[0]}`,
      `used ${ids[0]}`,
    ])
    const collected: number[] = []
    while (pair.driver.collect()) collected.push(pair.driver.token)
    assert.deepEqual(collected, [ids[2], ids[0], ids[1], next])
    assert.deepEqual(pair.breaks, [])
  })
}

test('packed: a ring cannot resume at an invalid position or with more in flight than its size', () => {
  for (const start of [
    { available: 16, used: 0 },
    { available: 0, used: 16 },
    { available: 9, used: 0 },
  ]) {
    const pair = new BarePair({ packed: true, size: 8 })
    assert.match(resumeQueue(pair, true, start).broken ?? '', /cannot resume at/)
  }
})

test('split: a ring that resumes far from its used index breaks at the first pop', () => {
  const pair = new BarePair({ packed: false, size: 8 })
  const queue = resumeQueue(pair, false, { available: 100, used: 0 })
  assert.equal(queue.pop(), undefined)
  assert.notEqual(queue.broken, undefined)
})
