import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestMemory, type WriteListener } from '../memory/guest-memory.ts'
import { MemoryRegion } from '../memory/memory-region.ts'
import { createDeviceQueue } from './create-device-queue.ts'
import type { QueueControl } from './device-queue.ts'
import { serveAll } from './testing/serve-all.ts'

const SIZE = 4
const DESCRIPTORS = 0x1000
const AVAILABLE = 0x2000
const AVAILABLE_IDX = AVAILABLE + 2
const USED_EVENT = AVAILABLE + 4 + 2 * SIZE
const USED = 0x3000
const USED_IDX = USED + 2
const AVAILABLE_EVENT = USED + 4 + 8 * SIZE

/** Split queue over memory that the test writes directly, without a driver. */
class Ring {
  readonly bytes = new DataView(new ArrayBuffer(0x4000))
  readonly queue: QueueControl
  interrupts = 0

  constructor(eventIdx: boolean, onWrite?: WriteListener) {
    this.queue = createDeviceQueue({
      index: 0,
      memory: new GuestMemory([MemoryRegion.over(0, new Uint8Array(this.bytes.buffer))], onWrite),
      size: SIZE,
      descriptorArea: DESCRIPTORS,
      driverArea: AVAILABLE,
      deviceArea: USED,
      packed: false,
      eventIdx,
      indirect: true,
      inOrder: false,
      interrupt: () => {
        this.interrupts++
      },
      onBroken: (reason) => assert.fail(reason),
    })
  }

  half(address: number): number {
    return this.bytes.getUint16(address, true)
  }

  setHalf(address: number, value: number): void {
    this.bytes.setUint16(address, value, true)
  }

  describe(index: number, address: number, length: number, flags: number, next = 0): void {
    const at = DESCRIPTORS + 16 * index
    this.bytes.setUint32(at, address, true)
    this.bytes.setUint32(at + 8, length, true)
    this.setHalf(at + 12, flags)
    this.setHalf(at + 14, next)
  }

  offer(head: number): void {
    const idx = this.half(AVAILABLE_IDX)
    this.setHalf(AVAILABLE + 4 + 2 * (idx % SIZE), head)
    this.setHalf(AVAILABLE_IDX, idx + 1)
  }

  serve(written = 0): number {
    return serveAll(this.queue, written)
  }
}

test('a used entry holds the head and the length, then the index advances  @virtio 2.7.8', () => {
  const ring = new Ring(false)
  ring.describe(3, 0x100, 2, 1, 1)
  ring.describe(1, 0x200, 7, 2)
  ring.offer(3)
  assert.equal(ring.serve(6), 1)
  const used = new Uint8Array(ring.bytes.buffer, USED, 4 + 8 * SIZE)
  assert.deepEqual([...used.subarray(2, 12)], [1, 0, 3, 0, 0, 0, 6, 0, 0, 0])
  assert.ok(used.subarray(12).every((byte) => byte === 0))
})

test('the device does not write to the descriptor table and the available ring  @virtio 2.7.5.1 2.7.6', () => {
  for (const eventIdx of [false, true]) {
    const ring = new Ring(eventIdx)
    ring.describe(0, 0x100, 2, 1, 2)
    ring.describe(2, 0x200, 7, 2)
    const before = ring.bytes.buffer.slice(DESCRIPTORS, USED)
    for (let i = 1; i <= 9; i++) {
      ring.offer(0)
      ring.serve(7)
      new DataView(before).setUint16(AVAILABLE_IDX - DESCRIPTORS, i, true)
      assert.deepEqual(ring.bytes.buffer.slice(DESCRIPTORS, USED), before)
    }
  }
})

test('without EVENT_IDX, notifications are disabled while the device works  @virtio 2.7.10.2', () => {
  const ring = new Ring(false)
  ring.describe(0, 0, 0, 0)
  assert.equal(ring.serve(), 0)
  assert.equal(ring.half(USED), 0)
  ring.offer(0)
  const chain = ring.queue.pop() ?? assert.fail()
  assert.equal(ring.half(USED), 1)
  ring.queue.push(chain, 0)
  assert.equal(ring.queue.pop(), undefined)
  assert.equal(ring.half(USED), 0)
  assert.equal(ring.half(AVAILABLE_EVENT), 0, 'not used')
})

test('with EVENT_IDX, the device requests the next entry and leaves the flags at 0  @virtio 2.7.10.2', () => {
  const ring = new Ring(true)
  ring.describe(0, 0, 0, 0)
  for (let served = 0; served < 70_000; served++) {
    assert.equal(ring.queue.pop(), undefined)
    assert.equal(ring.half(AVAILABLE_EVENT), served & 0xffff)
    ring.offer(0)
    assert.equal(ring.serve(), 1)
    assert.equal(ring.half(USED), 0)
  }
})

test('a notification without new entries has no effect  @virtio 2.7.10.2', () => {
  for (const eventIdx of [false, true]) {
    const ring = new Ring(eventIdx)
    const before = ring.bytes.buffer.slice(0)
    for (let i = 0; i < 3; i++) assert.equal(ring.serve(), 0)
    assert.deepEqual(ring.bytes.buffer, before)
    assert.equal(ring.interrupts, 0)
  }
})

test('an entry added while the device enables notifications is found  @virtio 2.7.10', () => {
  for (const eventIdx of [false, true]) {
    // The driver checked the flags before the device enabled notifications.
    const ring: Ring = new Ring(eventIdx, (address) => {
      if (address === (eventIdx ? AVAILABLE_EVENT : USED) && ring.half(AVAILABLE_IDX) === 0) ring.offer(0)
    })
    ring.describe(0, 0, 0, 0)
    assert.ok(ring.queue.pop(), 'a lost wake-up: the device would sleep while the driver waits')
    assert.equal(ring.half(USED), eventIdx ? 0 : 1)
  }
})

test('without EVENT_IDX, flags control interrupts and the event index is ignored  @virtio 2.7.7.2', () => {
  const ring = new Ring(false)
  ring.describe(0, 0, 0, 0)
  for (const [flags, event, wanted] of [
    [0, 0, 1],
    [1, 1, 0],
    [0, 1000, 1],
    [1, 3, 0],
  ]) {
    ring.setHalf(AVAILABLE, flags)
    ring.setHalf(USED_EVENT, event)
    ring.interrupts = 0
    ring.offer(0)
    ring.serve()
    assert.equal(ring.interrupts, wanted)
  }
  assert.equal(ring.queue.counters.interrupts, 2)
  assert.equal(ring.queue.counters.suppressed, 2)
})

test('with EVENT_IDX, the requested entry interrupts, with any flags  @virtio 2.7.7.2', () => {
  for (const flags of [0, 1]) {
    for (const from of [0, 0xfffe]) {
      const ring = new Ring(true)
      ring.describe(0, 0, 0, 0)
      for (let i = 0; i < from; i++) {
        ring.setHalf(USED_EVENT, i + 10)
        ring.offer(0)
        ring.serve()
      }
      assert.equal(ring.interrupts, 0)
      ring.setHalf(AVAILABLE, flags)
      // Batches of three: the driver requests an interrupt for one of them, or for the one before or after.
      let first = from
      for (const [event, wanted] of [
        [-1, 0],
        [0, 1],
        [1, 1],
        [2, 1],
        [3, 0],
      ]) {
        ring.setHalf(USED_EVENT, first + event)
        ring.interrupts = 0
        for (let i = 0; i < 3; i++) ring.offer(0)
        assert.equal(ring.serve(), 3)
        assert.equal(ring.interrupts, wanted, `${first} ${event}`)
        first += 3
      }
    }
  }
})

test('the used index is written once per batch', () => {
  const stores: number[] = []
  const ring: Ring = new Ring(true, (address, length) => {
    if (address === USED_IDX && length === 2) stores.push(ring.half(USED_IDX))
  })
  ring.describe(0, 0, 0, 0)
  for (let i = 0; i < SIZE; i++) ring.offer(0)
  assert.equal(ring.serve(), SIZE)
  assert.deepEqual(stores, [SIZE])
})
