import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestMemory } from '../memory/guest-memory.ts'
import { MemoryRegion } from '../memory/memory-region.ts'
import { createDeviceQueue } from './create-device-queue.ts'
import type { QueueSetup } from './device-queue.ts'
import { PackedDriver, SplitDriver } from './driver/index.ts'
import { VIRTQ_DESC_F_NEXT } from './ring-layout.ts'
import { BarePair } from './testing/bare-pair.ts'

function splitPair(size: number): BarePair & { driver: SplitDriver } {
  const pair = new BarePair({ packed: false, size })
  assert.ok(pair.driver instanceof SplitDriver)
  return pair as BarePair & { driver: SplitDriver }
}

function packedPair(size: number): BarePair & { driver: PackedDriver } {
  const pair = new BarePair({ packed: true, size })
  assert.ok(pair.driver instanceof PackedDriver)
  return pair as BarePair & { driver: PackedDriver }
}

/** Asserts that the queue is broken, reports it once and has no effects afterwards. */
function assertBroken(pair: BarePair): void {
  assert.equal(pair.queue.pop(), undefined)
  assert.equal(pair.breaks.length, 1)
  assert.equal(pair.queue.broken, pair.breaks[0])
  const before = pair.allocator.region.u8.slice()
  const { interrupts } = pair
  assert.equal(pair.queue.pop(), undefined)
  pair.queue.publish()
  assert.equal(pair.breaks.length, 1)
  assert.equal(pair.interrupts, interrupts)
  assert.deepEqual(pair.allocator.region.u8, before)
}

test('an available index more than the queue size ahead breaks the queue  @virtio 2.7.6', () => {
  for (const size of [1, 8, 32768]) {
    for (const ahead of [size + 1, 0xffff]) {
      const pair = splitPair(size)
      pair.driver.availableIndex = ahead
      assertBroken(pair)
    }
  }
})

test('an available index that decreases breaks the queue  @virtio 2.7.6.1', () => {
  const pair = splitPair(8)
  for (let i = 0; i < 4; i++) pair.driver.add([], [])
  pair.driver.kick()
  for (let i = 0; i < 4; i++) assert.ok(pair.queue.pop())
  pair.driver.availableIndex = 3
  assertBroken(pair)
})

test('more available entries than free descriptors break the queue  @virtio 2.7.13', () => {
  const pair = splitPair(4)
  for (let i = 0; i < 4; i++) pair.driver.add([], [])
  pair.driver.kick()
  const held = [pair.queue.pop(), pair.queue.pop(), pair.queue.pop()]
  // Pushed but unpublished: not yet free for the driver.
  if (held[0]) pair.queue.push(held[0], 0)
  pair.driver.availableIndex = 5
  assert.ok(pair.queue.pop(), 'chains available before are popped')
  assertBroken(pair)
  // Pushes of chains in flight are ignored.
  for (const chain of held) if (chain) pair.queue.push(chain, 0)
  assert.equal(pair.driver.collect(), false)
})

test('more available descriptors than free ones break the queue  @virtio 2.8.17', () => {
  for (const size of [1, 3, 8]) {
    for (const pushed of [false, true]) {
      const pair = packedPair(size)
      for (let i = 0; i < size; i++) pair.driver.add([], [])
      pair.driver.kick()
      for (let i = 0; i < size; i++) {
        const chain = pair.queue.pop() ?? assert.fail()
        // Pushed but unpublished: not yet free for the driver.
        if (pushed) pair.queue.push(chain, 0)
      }
      pair.driver.offer(0, 0, 0, 0)
      pair.driver.kick()
      assertBroken(pair)
    }
  }
})

test('a list that continues past the available descriptors breaks the queue  @virtio 2.8.6 2.8.15', () => {
  for (const size of [1, 2, 5, 8]) {
    for (let listed = 1; listed <= size; listed++) {
      const pair = packedPair(size)
      for (let i = 0; i < listed; i++) pair.driver.offer(4096, 1, VIRTQ_DESC_F_NEXT, 7)
      pair.driver.kick()
      assertBroken(pair)
      assert.match(pair.breaks[0], /continues past the available descriptors/)
      assert.equal(pair.queue.counters.popped, 0)
    }
  }
})

test('a list never continues into descriptors of an earlier round  @virtio 2.8.15', () => {
  const pair = packedPair(4)
  // All four descriptors are used once. Then one with NEXT is made available, and its successor is not.
  for (let i = 0; i < 4; i++) pair.driver.add([], [])
  pair.driver.kick()
  for (let chain = pair.queue.pop(); chain; chain = pair.queue.pop()) pair.queue.push(chain, 0)
  pair.queue.publish()
  while (pair.driver.collect());
  pair.driver.offer(4096, 1, VIRTQ_DESC_F_NEXT, 0)
  pair.driver.kick()
  assertBroken(pair)
})

test('a ring with an invalid size or address is broken from the start  @virtio 2.7.1 2.8.10.1', () => {
  const end = 1 << 20
  const memory = new GuestMemory([
    MemoryRegion.over(0, new Uint8Array(end)),
    MemoryRegion.over(end, new Uint8Array(64)),
  ])
  const fits = { size: 64, descriptorArea: 0x1000, driverArea: 0x2000, deviceArea: 0x3000 }
  const wrong: readonly [what: RegExp, packed: boolean | undefined, setup: Partial<QueueSetup>][] = [
    [/queue size/, false, { size: 0 }],
    [/queue size/, false, { size: 3 }],
    [/queue size/, false, { size: 65535 }],
    [/queue size/, true, { size: 0 }],
    [/queue size/, true, { size: 32769 }],
    [/^descriptor (table|ring) outside/, undefined, { descriptorArea: 2 * end }],
    [/^descriptor (table|ring) outside/, undefined, { descriptorArea: 2 ** 64 - 4096 }],
    [/^descriptor (table|ring) outside/, undefined, { descriptorArea: end - 64 * 16 + 16 }],
    [/^descriptor (table|ring) .* misaligned/, undefined, { descriptorArea: 0x1008 }],
    [/^available ring outside/, false, { driverArea: end - 64 }],
    [/^available ring .* misaligned/, false, { driverArea: 0x2001 }],
    [/^used ring outside/, false, { deviceArea: end - 64 * 8 }],
    [/^used ring .* misaligned/, false, { deviceArea: 0x3002 }],
    [/^driver event suppression outside/, true, { driverArea: end + 64 }],
    [/^driver event suppression .* misaligned/, true, { driverArea: 0x2002 }],
    [/^device event suppression outside/, true, { deviceArea: 2 ** 53 }],
    [/^device event suppression .* misaligned/, true, { deviceArea: 0x3001 }],
  ]
  for (const [what, only, setup] of wrong) {
    for (const packed of only === undefined ? [false, true] : [only]) {
      const breaks: string[] = []
      const queue = createDeviceQueue({
        ...fits,
        index: 0,
        memory,
        packed,
        eventIdx: true,
        indirect: true,
        inOrder: true,
        interrupt: () => assert.fail('no interrupt expected'),
        onBroken: (reason) => breaks.push(reason),
        ...setup,
      })
      assert.match(queue.broken ?? '', what)
      assert.deepEqual(breaks, [queue.broken])
      assert.equal(queue.pop(), undefined)
      queue.publish()
      assert.ok(memory.regions.every((region) => region.u8.every((byte) => byte === 0)))
    }
  }
})

test('a ring may end with its region, without an event index if EVENT_IDX was not negotiated', () => {
  const memory = new GuestMemory([MemoryRegion.over(0, new Uint8Array(4096))])
  for (const eventIdx of [false, true]) {
    const room = eventIdx ? 2 : 0
    const setup: QueueSetup = {
      index: 0,
      memory,
      size: 4,
      packed: false,
      eventIdx,
      indirect: false,
      inOrder: false,
      descriptorArea: 4096 - 64,
      driverArea: 4096 - 12 - room,
      deviceArea: 4096 - 36 - 2 * room,
      interrupt: () => {},
      onBroken: () => {},
    }
    assert.equal(createDeviceQueue(setup).broken, undefined)
    assert.match(createDeviceQueue({ ...setup, driverArea: setup.driverArea + 2 }).broken ?? '', /available ring/)
    assert.match(createDeviceQueue({ ...setup, deviceArea: setup.deviceArea + 4 }).broken ?? '', /used ring/)
  }
})
