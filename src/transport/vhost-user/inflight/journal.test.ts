import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GuestMemory } from '../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { ChainJournal, SavedChain } from '../../../virtqueue/chain-journal.ts'
import { createDeviceQueue } from '../../../virtqueue/create-device-queue.ts'
import type { QueueControl, RingPosition } from '../../../virtqueue/device-queue.ts'
import { BarePair } from '../../../virtqueue/testing/bare-pair.ts'
import type { InflightRegion, RegionLayout } from './inflight-area.ts'
import { PACKED_LAYOUT, PackedJournal } from './packed-journal.ts'
import { SPLIT_LAYOUT, SplitJournal } from './split-journal.ts'

const SIZE = 8
const MEMORY = 1 << 16

function regionOver(bytes: Uint8Array): InflightRegion {
  return { u8: bytes, u16: new Uint16Array(bytes.buffer), u32: new Uint32Array(bytes.buffer) }
}

const regionBytes = ({ head, entry }: RegionLayout) => head + SIZE * entry

/** Journal that calls `moment` after each step at which the process could end. */
class InterruptedJournal implements ChainJournal {
  #batch: number[] = []

  constructor(
    private readonly journal: ChainJournal,
    private readonly moment: () => void,
    /** Called with the ids of chains that became visible as used. */
    private readonly visible: (ids: readonly number[]) => void,
  ) {}

  get unfinished(): readonly SavedChain[] {
    return this.journal.unfinished
  }

  descriptor(words: Uint32Array, at: number): void {
    this.journal.descriptor(words, at)
    this.moment()
  }

  taken(chain: Chain): void {
    this.journal.taken(chain)
    this.moment()
  }

  resumed(chain: Chain, saved: SavedChain): void {
    this.journal.resumed(chain, saved)
  }

  used(chain: Chain): void {
    this.#batch.push(chain.id)
    this.journal.used(chain)
    this.moment()
  }

  exposing(used: number): void {
    this.journal.exposing(used)
    this.moment()
  }

  exposed(): void {
    this.visible(this.#batch)
    this.#batch = []
    this.moment()
    this.journal.exposed()
    this.moment()
  }
}

/** State that survives a back-end: guest memory and in-flight area. */
interface Snapshot {
  readonly memory: Uint8Array
  readonly area: Uint8Array
  /** Requests that the driver made and that are not visible as used. */
  readonly outstanding: readonly number[]
}

class World {
  readonly bytes = new Uint8Array(MEMORY)
  readonly area: Uint8Array
  readonly pair: BarePair
  readonly moments: Snapshot[] = []
  readonly outstanding = new Set<number>()
  readonly queue: QueueControl

  constructor(readonly packed: boolean) {
    this.area = new Uint8Array(regionBytes(packed ? PACKED_LAYOUT : SPLIT_LAYOUT))
    this.pair = new BarePair({ packed, size: SIZE, memory: new GuestMemory([MemoryRegion.over(0, this.bytes)]) })
    this.queue = this.serve(this.bytes, this.area, { available: 0, used: 0 })
  }

  serve(bytes: Uint8Array, area: Uint8Array, base: RingPosition): QueueControl {
    const memory = new GuestMemory([MemoryRegion.over(0, bytes)])
    const journal = openJournal(this.packed, memory, area, base, this.pair)
    const interrupted = new InterruptedJournal(
      journal,
      () => {
        if (bytes !== this.bytes) return
        const outstanding = [...this.outstanding].sort((a, b) => a - b)
        this.moments.push({ memory: this.bytes.slice(), area: this.area.slice(), outstanding })
      },
      (ids) => {
        if (bytes === this.bytes) for (const id of ids) this.outstanding.delete(id)
      },
    )
    return createDeviceQueue({
      index: 0,
      size: SIZE,
      packed: this.packed,
      eventIdx: false,
      indirect: true,
      inOrder: false,
      memory,
      ...this.pair.driver.addresses,
      start: journal.start,
      journal: interrupted,
      interrupt: () => {},
      onBroken: (reason) => assert.fail(reason),
    })
  }

  /** Makes a request of `parts` descriptors available, if the driver has enough. */
  add(parts: number): void {
    const { driver } = this.pair
    while (driver.free < parts && driver.collect());
    const id = driver.add([], new Array(parts).fill({ address: 0x8000, length: 16 }))
    if (id < 0) return
    this.outstanding.add(id)
    driver.kick()
  }
}

function openJournal(packed: boolean, memory: GuestMemory, area: Uint8Array, base: RingPosition, pair: BarePair) {
  const { descriptorArea, deviceArea } = pair.driver.addresses
  const halves = memory.regions[0].u16
  if (!packed) {
    const used = halves[deviceArea / 2 + 1]
    return new SplitJournal(regionOver(area), SIZE, SIZE, used, base.available)
  }
  return new PackedJournal(regionOver(area), SIZE, base, (position) => {
    const flags = halves[(descriptorArea + (position % SIZE) * 16 + 14) / 2] & 0x8080
    return flags === (position >= SIZE ? 0x8000 : 0x80)
  })
}

/**
 * Step: the driver adds a request of n descriptors, or the device takes one, uses the n-th that it holds, or publishes.
 */
type Step = readonly ['add', number] | readonly ['take'] | readonly ['use', number] | readonly ['publish']

/** Publications are rare, so that batches contain several chains. */
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('add' as const), fc.integer({ min: 1, max: 3 })) },
  { weight: 5, arbitrary: fc.tuple(fc.constant('take' as const)) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('use' as const), fc.nat(7)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('publish' as const)) },
)

for (const packed of [false, true]) {
  const ring = packed ? 'packed' : 'split'

  test(`${ring}: wherever a back-end ends, the next serves exactly the requests that are not visible as used`, () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), (steps) => {
        const world = new World(packed)
        const held: Chain[] = []
        for (const [what, n = 0] of steps) {
          if (what === 'add') {
            world.add(n)
          } else if (what === 'take') {
            const chain = world.queue.pop()
            if (chain) held.push(chain)
          } else if (what === 'use') {
            const [chain] = held.splice(n % Math.max(held.length, 1), 1)
            if (chain) world.queue.push(chain, 1)
          } else {
            world.queue.publish()
          }
        }
        for (const { memory, area, outstanding } of world.moments) {
          const queue = world.serve(memory, area, { available: 0, used: 0 })
          const served: number[] = []
          for (let chain = queue.pop(); chain; chain = queue.pop()) {
            served.push(chain.id)
            queue.push(chain, 1)
          }
          assert.deepEqual(
            served.sort((a, b) => a - b),
            outstanding,
          )
        }
      }),
      { numRuns: 60 },
    )
  })

  test(`${ring}: unfinished chains return in the order in which they were taken`, () => {
    const world = new World(packed)
    const { driver } = world.pair
    const ids = [1, 2, 1, 1].map((count) =>
      driver.add(
        [],
        Array.from({ length: count }, () => ({ address: 0x8000, length: 8 })),
      ),
    )
    driver.kick()
    const chains = ids.map(() => world.queue.pop())
    assert.ok(chains[1])
    world.queue.push(chains[1], 1)
    world.queue.publish()
    const next = world.serve(world.bytes.slice(), world.area, { available: 0, used: 0 })
    assert.deepEqual([next.pop()?.id, next.pop()?.id, next.pop()?.id, next.pop()], [ids[0], ids[2], ids[3], undefined])
  })

  test(`${ring}: after the release of a journal, the position from the front-end is used`, () => {
    const world = new World(packed)
    const { driver } = world.pair
    driver.add([], [{ address: 0x8000, length: 8 }])
    driver.kick()
    const chain = world.queue.pop()
    assert.ok(chain)
    world.queue.push(chain, 1)
    world.queue.publish()
    const memory = new GuestMemory([MemoryRegion.over(0, world.bytes)])
    const journal = openJournal(packed, memory, world.area, { available: 0, used: 0 }, world.pair)
    assert.deepEqual(journal.start, { available: 1, used: 1 })
    journal.release()
    const base = { available: 5, used: packed ? 5 : 1 }
    assert.deepEqual(openJournal(packed, memory, world.area, base, world.pair).start, base)
  })

  test(`${ring}: a queue opens on arbitrary area contents, and does not throw`, () => {
    const area = fc.uint8Array({ minLength: 32, maxLength: regionBytes(packed ? PACKED_LAYOUT : SPLIT_LAYOUT) })
    fc.assert(
      fc.property(area, fc.boolean(), fc.integer({ min: 0, max: 5 }), (words, hasValidHeader, requests) => {
        const world = new World(packed)
        const { driver } = world.pair
        for (let i = 0; i < requests; i++) driver.add([], [{ address: 0x8000, length: 8 }])
        driver.kick()
        world.area.set(words)
        if (hasValidHeader) new Uint16Array(world.area.buffer).set([1, SIZE], 4)
        const memory = new GuestMemory([MemoryRegion.over(0, world.bytes)])
        const journal = openJournal(packed, memory, world.area, { available: 0, used: 0 }, world.pair)
        assert.ok(journal.unfinished.length <= SIZE)
        const queue = createDeviceQueue({
          index: 0,
          size: SIZE,
          packed,
          eventIdx: false,
          indirect: true,
          inOrder: false,
          memory,
          ...driver.addresses,
          start: journal.start,
          journal,
          interrupt: () => {},
          onBroken: () => {},
        })
        let served = 0
        for (let chain = queue.pop(); chain; chain = queue.pop()) {
          queue.push(chain, 1)
          served++
        }
        queue.publish()
        assert.ok(served <= 2 * SIZE)
      }),
    )
  })
}
