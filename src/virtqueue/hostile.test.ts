import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChainFault } from './chain-builder.ts'
import type { SplitDriver } from './driver/index.ts'
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from './ring-layout.ts'
import { BarePair } from './testing/bare-pair.ts'
import { type Forged, forgeChain, forgeTable } from './testing/forge-chain.ts'
import { GuardedMemory } from './testing/guarded-memory.ts'

/** Two adjacent regions, a hole and a third region. */
const LOW = 1 << 20
const NEIGHBOUR = 1 << 16
const HIGH = 0x1_4000_0000
const HIGH_SIZE = 1 << 16
const layout = [
  [0, LOW],
  [LOW, NEIGHBOUR],
  [HIGH, HIGH_SIZE],
] as const

const NEXT = VIRTQ_DESC_F_NEXT
const WRITE = VIRTQ_DESC_F_WRITE
const INDIRECT = VIRTQ_DESC_F_INDIRECT

const SIZE = 16
const good = { address: 0x800, length: 8 }
/** First descriptor of the forged chain, after a valid chain of two. */
const FIRST = 2

interface Attack {
  readonly what: string
  readonly fault: ChainFault
  readonly clause: string
  readonly ring?: 'split' | 'packed'
  readonly indirect?: boolean
  readonly chain: (pair: BarePair) => Forged[]
}

const outside: Attack[] = [
  ['just after the last region', HIGH + HIGH_SIZE, 4],
  ['in a hole', LOW + NEIGHBOUR + 4096, 4],
  ['that begins in memory and ends in a hole', LOW + NEIGHBOUR - 4, 8],
  ['that ends one byte past memory', HIGH + HIGH_SIZE - 4, 5],
  ['of almost 4 GiB', 0, 0xffff_fff0],
  ['at 2^53', 2 ** 53, 4],
  ['at 2^63', 2 ** 63, 4],
  ['that wraps around 2^64', 2 ** 64 - 4096, 8192],
].map(([what, address, length]) => ({
  what: `a buffer ${what}`,
  fault: ChainFault.OUTSIDE,
  clause: '2.7.5 2.8.5',
  chain: () => [good, { address, length, flags: WRITE } as Forged],
}))

const tables: Attack[] = [
  [0, 'of length 0'],
  [15, 'of length 15'],
  [24, 'of one and a half entries'],
  [16 * 1025, 'longer than the maximum chain'],
  [0xffff_fff0, 'of 4 GiB'],
].map(([length, what]) => ({
  what: `an indirect table ${what}`,
  fault: ChainFault.TABLE_LENGTH,
  clause: '2.7.5.3 2.8.7',
  chain: () => [{ address: 4096, length, flags: INDIRECT } as Forged],
}))

const attacks: Attack[] = [
  ...outside,
  ...tables,
  {
    what: 'a chain of more than 4 GiB',
    fault: ChainFault.TOO_LARGE,
    clause: '2.7.5.2',
    chain: () => [good, { address: 0, length: 0xffff_ffff }],
  },
  {
    what: 'a readable descriptor after a writable one',
    fault: ChainFault.DIRECTION,
    clause: '2.7.4.2 2.8.17',
    chain: () => [{ ...good, flags: NEXT | WRITE }, good],
  },
  {
    what: 'a readable descriptor of length 0 after a writable one',
    fault: ChainFault.DIRECTION,
    clause: '2.7.4.2 2.8.17',
    chain: () => [
      { ...good, flags: NEXT | WRITE },
      { address: 0, length: 0 },
    ],
  },
  {
    what: 'a descriptor whose next is itself',
    fault: ChainFault.TOO_LONG,
    clause: '2.7.5.2',
    ring: 'split',
    chain: () => [{ ...good, flags: NEXT, next: FIRST }],
  },
  {
    what: 'a chain that loops to its middle',
    fault: ChainFault.TOO_LONG,
    clause: '2.7.5.2',
    ring: 'split',
    chain: () => [good, good, { ...good, flags: NEXT, next: FIRST + 1 }],
  },
  {
    what: 'a loop of descriptors of length 0',
    fault: ChainFault.TOO_LONG,
    clause: '2.7.5.2',
    ring: 'split',
    chain: () => [{ address: 0, length: 0, flags: NEXT, next: FIRST }],
  },
  ...[SIZE, 0xffff].map(
    (next): Attack => ({
      what: `a next descriptor ${next} in a table of ${SIZE}`,
      fault: ChainFault.INDEX,
      clause: '2.7.5',
      ring: 'split',
      chain: () => [{ ...good, flags: NEXT, next }],
    }),
  ),
  {
    what: 'an indirect descriptor without INDIRECT_DESC',
    fault: ChainFault.INDIRECT_NOT_NEGOTIATED,
    clause: '2.7.5.3.1 2.8.19',
    indirect: false,
    chain: (pair) => [{ ...forgeTable(pair, [good]), flags: INDIRECT }],
  },
  {
    what: 'an indirect descriptor with NEXT',
    fault: ChainFault.INDIRECT_CHAINED,
    clause: '2.7.5.3.1 2.8.19',
    chain: (pair) => [{ ...forgeTable(pair, [good]), flags: INDIRECT | NEXT }, good],
  },
  {
    what: 'an indirect descriptor after a direct one',
    fault: ChainFault.INDIRECT_CHAINED,
    clause: '2.8.5',
    ring: 'packed',
    chain: (pair) => [good, { ...forgeTable(pair, [good]), flags: INDIRECT }],
  },
  {
    what: 'a table within a table',
    fault: ChainFault.INDIRECT_NESTED,
    clause: '2.7.5.3.1',
    ring: 'split',
    chain: (pair) => {
      const inner = forgeTable(pair, [good])
      return [{ ...forgeTable(pair, [good, { ...inner, flags: INDIRECT }]), flags: INDIRECT }]
    },
  },
  ...[LOW + NEIGHBOUR, LOW + NEIGHBOUR - 16, HIGH - 16, 2 ** 64 - 4096].map(
    (address): Attack => ({
      what: `an indirect table of 32 bytes at ${address.toString(16)}`,
      fault: ChainFault.TABLE_OUTSIDE,
      clause: '2.7.5.3 2.8.7',
      chain: () => [{ address, length: 32, flags: INDIRECT }],
    }),
  ),
  {
    what: 'an address outside guest memory in a table',
    fault: ChainFault.OUTSIDE,
    clause: '2.7.5.3 2.8.7',
    chain: (pair) => [{ ...forgeTable(pair, [good, { address: HIGH - 4, length: 8 }]), flags: INDIRECT }],
  },
  {
    what: 'a readable descriptor after a writable one in a table',
    fault: ChainFault.DIRECTION,
    clause: '2.7.4.2 2.8.17',
    chain: (pair) => [{ ...forgeTable(pair, [{ ...good, flags: WRITE | NEXT }, good]), flags: INDIRECT }],
  },
  {
    what: 'a next index past the end of the table',
    fault: ChainFault.INDEX,
    clause: '2.7.5.3',
    ring: 'split',
    chain: (pair) => [{ ...forgeTable(pair, [good, { ...good, flags: NEXT, next: 2 }]), flags: INDIRECT }],
  },
  {
    what: 'a table that loops',
    fault: ChainFault.TOO_LONG,
    clause: '2.7.5.2',
    ring: 'split',
    chain: (pair) => [{ ...forgeTable(pair, [good, { ...good, flags: NEXT, next: 0 }]), flags: INDIRECT }],
  },
]

function addGood(pair: BarePair): () => void {
  const input = pair.part(3)
  const output = pair.part(5)
  pair.bytes(input).set([1, 2, 3])
  const token = pair.driver.add([input], [output])
  return () => {
    assert.equal(pair.driver.collect(), true)
    assert.equal(pair.driver.token, token)
    assert.equal(pair.driver.written, 3)
    assert.deepEqual([...pair.bytes(output)], [1, 2, 3, 0, 0])
  }
}

/** Echoes all available chains. @returns the number of popped chains */
function serve({ queue }: BarePair): number {
  let served = 0
  for (let chain = queue.pop(); chain; chain = queue.pop()) {
    queue.push(chain, chain.reader.copyTo(chain.writer))
    served++
  }
  queue.publish()
  return served
}

function expectRefused({ driver }: BarePair, token: number): void {
  assert.equal(driver.collect(), true)
  assert.equal(driver.token, token)
  assert.equal(driver.written, 0)
}

for (const attack of attacks) {
  for (const packed of [false, true]) {
    if (attack.ring && (attack.ring === 'packed') !== packed) continue
    const ring = packed ? 'packed' : 'split'
    test(`${attack.what} makes only that chain malformed (${ring})  @virtio ${attack.clause}`, () => {
      for (const inOrder of [false, true]) {
        const guarded = new GuardedMemory(layout)
        const { indirect = true } = attack
        const pair = new BarePair({ packed, size: SIZE, inOrder, indirect, memory: guarded.memory })
        const before = addGood(pair)
        const { token } = forgeChain(pair, attack.chain(pair))
        const after = addGood(pair)
        pair.driver.kick()
        assert.equal(serve(pair), 2)
        before()
        expectRefused(pair, token)
        after()
        assert.equal(pair.driver.free, SIZE)
        assert.equal(pair.queue.counters.malformed, 1)
        assert.equal(pair.queue.counters.lastFault, attack.fault)
        assert.deepEqual(pair.breaks, [])
        assert.ok(guarded.isIntact)
      }
    })
  }
}

test('a head that is not a descriptor index makes only that chain malformed  @virtio 2.7.6', () => {
  for (const head of [SIZE, 0xffff]) {
    const pair = new BarePair({ packed: false, size: SIZE })
    const before = addGood(pair)
    ;(pair.driver as SplitDriver).offer(head)
    const after = addGood(pair)
    pair.driver.kick()
    assert.equal(serve(pair), 2)
    before()
    expectRefused(pair, head)
    after()
    assert.equal(pair.queue.counters.lastFault, ChainFault.INDEX)
  }
})

test('malformed chains are returned at once, even if the device pops none', () => {
  for (const packed of [false, true]) {
    const pair = new BarePair({ packed, size: SIZE, eventIdx: true })
    addGood(pair)
    pair.driver.kick()
    serve(pair)
    assert.equal(pair.driver.collect(), true)
    assert.equal(pair.driver.enableInterrupts(), true)
    const { interrupts } = pair
    const token = pair.driver.add([{ address: 2 ** 40, length: 1 }], [])
    assert.equal(pair.driver.kick(), true)
    assert.equal(pair.queue.pop(), undefined)
    assert.equal(pair.interrupts, interrupts + 1)
    expectRefused(pair, token)
  }
})

test('a ring full of malformed chains is returned by one pop', () => {
  for (const packed of [false, true]) {
    const pair = new BarePair({ packed, size: SIZE })
    for (let round = 0; round < 100; round++) {
      for (let i = 0; i < SIZE; i++) pair.driver.add([{ address: LOW * 2 ** 20, length: 1 }], [])
      pair.driver.kick()
      assert.equal(serve(pair), 0)
      for (let i = 0; i < SIZE; i++) assert.equal(pair.driver.collect(), true)
    }
    assert.equal(pair.driver.free, SIZE)
    assert.equal(pair.queue.counters.malformed, 100 * SIZE)
  }
})
