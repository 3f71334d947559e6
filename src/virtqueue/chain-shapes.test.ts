import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestMemory } from '../memory/guest-memory.ts'
import { MemoryRegion } from '../memory/memory-region.ts'
import type { Chain } from './chain.ts'
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from './ring-layout.ts'
import { BarePair } from './testing/bare-pair.ts'
import { type Forged, forgeChain, forgeTable } from './testing/forge-chain.ts'

const NEXT = VIRTQ_DESC_F_NEXT
const WRITE = VIRTQ_DESC_F_WRITE
const INDIRECT = VIRTQ_DESC_F_INDIRECT

const SIZE = 16

/** Returns the chain that the device pops for the given descriptors. */
function popForged(pair: BarePair, forged: readonly Forged[]): Chain {
  pair.driver.add([], [])
  forgeChain(pair, forged)
  pair.driver.kick()
  const first = pair.queue.pop()
  const chain = pair.queue.pop()
  assert.ok(first && chain, `${pair.queue.counters.lastFault}`)
  assert.equal(first.spans.count, 0)
  return chain
}

function read(chain: Chain): number[] {
  const bytes = new Uint8Array(chain.readableLength)
  assert.equal(chain.reader.read(bytes), bytes.length)
  return [...bytes]
}

/** Allocates a part with the bytes 1, 2, 3 ... */
function place(pair: BarePair, length: number): Forged {
  const part = pair.part(length)
  for (let i = 0; i < length; i++) pair.bytes(part)[i] = i + 1
  return part
}

function forBoth(check: (pair: BarePair) => void): void {
  for (const packed of [false, true]) check(new BarePair({ packed, size: SIZE }))
}

test('a descriptor of length 0 adds nothing, with any address', () => {
  forBoth((pair) => {
    const nowhere = { address: 2 ** 63, length: 0 }
    const chain = popForged(pair, [
      nowhere,
      place(pair, 2),
      nowhere,
      { ...nowhere, flags: WRITE | NEXT },
      { ...pair.part(4), flags: WRITE | NEXT },
      { ...nowhere, flags: WRITE },
    ])
    assert.equal(chain.spans.count, 2)
    assert.equal(chain.readableSpans, 1)
    assert.deepEqual(read(chain), [1, 2])
    assert.equal(chain.writableLength, 4)
  })
})

test('the WRITE flag of an indirect descriptor is ignored  @virtio 2.7.5.3.2 2.8.7', () => {
  forBoth((pair) => {
    const table = forgeTable(pair, [place(pair, 3), { ...pair.part(1), flags: WRITE }])
    const chain = popForged(pair, [{ ...table, flags: INDIRECT | WRITE }])
    assert.deepEqual(read(chain), [1, 2, 3])
    assert.equal(chain.writableLength, 1)
  })
})

test('direct descriptors may precede an indirect one  @virtio 2.7.5.3.2', () => {
  const pair = new BarePair({ packed: false, size: SIZE })
  const table = forgeTable(pair, [place(pair, 2), { ...pair.part(7), flags: WRITE }])
  const chain = popForged(pair, [place(pair, 3), place(pair, 1), { ...table, flags: INDIRECT }])
  assert.deepEqual(read(chain), [1, 2, 3, 1, 1, 2])
  assert.equal(chain.writableLength, 7)
})

test('entries of a table may be linked in any order, and unlinked ones are ignored  @virtio 2.7.5.3', () => {
  const pair = new BarePair({ packed: false, size: SIZE })
  const table = forgeTable(pair, [
    { ...place(pair, 1), flags: NEXT, next: 3 },
    { address: 2 ** 50, length: 1, flags: INDIRECT },
    { ...place(pair, 2), flags: 0 },
    { ...place(pair, 3), flags: NEXT, next: 2 },
  ])
  assert.deepEqual(read(popForged(pair, [{ ...table, flags: INDIRECT }])), [1, 1, 2, 3, 1, 2])
})

test('in a table of a packed ring every entry is used, and only its WRITE flag is valid  @virtio 2.8.7', () => {
  const pair = new BarePair({ packed: true, size: SIZE })
  const table = forgeTable(pair, [
    { ...place(pair, 2), flags: INDIRECT },
    { ...place(pair, 1), flags: 0xffff & ~WRITE },
    { ...pair.part(5), flags: 0xffff },
  ])
  const chain = popForged(pair, [{ ...table, flags: INDIRECT }])
  assert.deepEqual(read(chain), [1, 2, 1])
  assert.equal(chain.writableLength, 5)
})

test('reserved flags are ignored', () => {
  forBoth((pair) => {
    const reserved = 0xffff & ~(NEXT | WRITE | INDIRECT | (1 << 7) | (1 << 15))
    const chain = popForged(pair, [
      { ...place(pair, 2), flags: reserved | NEXT },
      { ...pair.part(1), flags: reserved | WRITE },
    ])
    assert.deepEqual(read(chain), [1, 2])
    assert.equal(chain.writableLength, 1)
  })
})

test('tables may have any address  @virtio 2.7.5.3 2.8.7', () => {
  for (const shift of [1, 2, 4, 7]) {
    forBoth((pair) => {
      const aligned = forgeTable(pair, [place(pair, 2), place(pair, 3)])
      const address = pair.allocator.allocate(64) + shift
      pair.allocator.region.u8.copyWithin(address, aligned.address, aligned.address + aligned.length)
      assert.deepEqual(read(popForged(pair, [{ ...aligned, address, flags: INDIRECT }])), [1, 2, 1, 2, 3])
    })
  }
})

test('tables and buffers may cross adjacent regions', () => {
  for (const packed of [false, true]) {
    const edge = 1 << 16
    const memory = new GuestMemory([0, edge, 2 * edge].map((base) => MemoryRegion.over(base, new Uint8Array(edge))))
    const pair = new BarePair({ packed, size: SIZE, memory })
    const scratch = forgeTable(pair, [{ address: edge - 1, length: edge + 2 }, place(pair, 3)])
    const bytes = memory.regions[0].u8.slice(scratch.address, scratch.address + scratch.length)
    memory.regions[1].u8.set(bytes.subarray(0, 20), edge - 20)
    memory.regions[2].u8.set(bytes.subarray(20), 0)
    const chain = popForged(pair, [{ address: 2 * edge - 20, length: 32, flags: INDIRECT }])
    assert.equal(chain.spans.count, 4)
    assert.equal(chain.readableLength, edge + 5)
    assert.equal(chain.reader.skip(edge + 2), edge + 2)
    assert.deepEqual([chain.reader.u8(), chain.reader.u8(), chain.reader.u8()], [1, 2, 3])
  }
})

test('a chain may be as long as the ring  @virtio 2.7.5 2.8.5', () => {
  for (const [packed, size] of [
    [false, 1024],
    [true, 1000],
  ] as const) {
    const pair = new BarePair({ packed, size })
    const parts = Array.from({ length: size }, () => pair.part(1))
    pair.driver.add(parts.slice(1), parts.slice(0, 1))
    pair.driver.kick()
    const chain = pair.queue.pop() ?? assert.fail(`${pair.queue.counters.lastFault}`)
    assert.equal(chain.spans.count, size)
    pair.queue.push(chain, 1)
    pair.queue.publish()
    assert.equal(pair.driver.collect(), true)
    assert.equal(pair.driver.free, size)
  }
})

test('an indirect table may be longer than the ring', () => {
  for (const packed of [false, true]) {
    const pair = new BarePair({ packed, size: 1 })
    const part = pair.part(1)
    pair.driver.add(Array(1024).fill(part), [], 'indirect')
    pair.driver.kick()
    assert.equal(pair.queue.pop()?.readableLength, 1024)
  }
})
