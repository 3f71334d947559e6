import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestMemory, type WriteListener } from '../memory/guest-memory.ts'
import { MemoryRegion } from '../memory/memory-region.ts'
import { createDeviceQueue } from './create-device-queue.ts'
import type { QueueControl } from './device-queue.ts'
import { serveAll } from './testing/serve-all.ts'

const SIZE = 3
const RING = 0x1000
const DRIVER_EVENTS = 0x2000
const DEVICE_EVENTS = 0x3000

const NEXT = 1
const WRITE = 2
const AVAIL = 0x80
const USED = 0x8000

const ENABLE = 0
const DISABLE = 1
const DESC = 2

/** Packed queue of size 3 over memory that the test writes directly, without a driver. */
class Ring {
  readonly bytes = new DataView(new ArrayBuffer(0x4000))
  readonly queue: QueueControl
  interrupts = 0
  broken: string | undefined
  #next = 0
  #wrap = true

  constructor(eventIdx: boolean, onWrite?: WriteListener) {
    this.queue = createDeviceQueue({
      index: 0,
      memory: new GuestMemory([MemoryRegion.over(0, new Uint8Array(this.bytes.buffer))], onWrite),
      size: SIZE,
      descriptorArea: RING,
      driverArea: DRIVER_EVENTS,
      deviceArea: DEVICE_EVENTS,
      packed: true,
      eventIdx,
      indirect: true,
      inOrder: false,
      interrupt: () => {
        this.interrupts++
      },
      onBroken: (reason) => {
        this.broken = reason
      },
    })
  }

  half(address: number): number {
    return this.bytes.getUint16(address, true)
  }

  /** Writes the next descriptor and makes it available at once. */
  offer(id: number, flags = 0, address = 0x100, length = 4): void {
    const at = RING + 16 * this.#next
    this.bytes.setUint32(at, address, true)
    this.bytes.setUint32(at + 8, length, true)
    this.bytes.setUint16(at + 12, id, true)
    this.bytes.setUint16(at + 14, flags | (this.#wrap ? AVAIL : USED), true)
    this.#next = (this.#next + 1) % SIZE
    if (this.#next === 0) this.#wrap = !this.#wrap
  }

  suppress(flags: number, offset = 0, wrap = true): void {
    this.bytes.setUint16(DRIVER_EVENTS, offset | (wrap ? 0x8000 : 0), true)
    this.bytes.setUint16(DRIVER_EVENTS + 2, flags, true)
  }

  /** Returns length, id and flags of a descriptor. */
  used(index: number): number[] {
    const at = RING + 16 * index
    return [this.bytes.getUint32(at + 8, true), this.half(at + 12), this.half(at + 14)]
  }

  get deviceEvents(): number[] {
    return [this.half(DEVICE_EVENTS), this.half(DEVICE_EVENTS + 2)]
  }

  pop() {
    return this.queue.pop() ?? assert.fail('no chain')
  }

  serve(written = 0): number {
    return serveAll(this.queue, written)
  }
}

test('a used descriptor has AVAIL and USED equal to the wrap counter, and WRITE if bytes were written  @virtio 2.8.1 2.8.3', () => {
  const ring = new Ring(false)
  for (const marks of [AVAIL | USED, 0, AVAIL | USED]) {
    for (let index = 0; index < SIZE; index++) {
      const written = index
      ring.offer(0xabc0 + index, WRITE)
      assert.equal(ring.serve(written), 1)
      assert.deepEqual(ring.used(index), [written, 0xabc0 + index, marks | (written > 0 ? WRITE : 0)])
    }
  }
})

test('descriptors that are zero, used or of the wrong round are not available  @virtio 2.8.1 2.8.15', () => {
  for (const marks of [0, AVAIL | USED, USED]) {
    const ring = new Ring(false)
    ring.bytes.setUint16(RING + 14, marks, true)
    assert.equal(ring.queue.pop(), undefined)
    assert.equal(ring.broken, undefined)
  }
})

test('one used descriptor is written for a list, and the position advances by its length  @virtio 2.8.6', () => {
  const ring = new Ring(false)
  ring.offer(99, NEXT)
  ring.offer(7, WRITE)
  ring.offer(8, WRITE)
  const [list, single] = [ring.pop(), ring.pop()]
  assert.equal(list.id, 7, 'the id is in the last descriptor')
  const second = ring.used(1)
  ring.queue.push(list, 4)
  ring.queue.push(single, 1)
  ring.queue.publish()
  assert.deepEqual(ring.used(0), [4, 7, AVAIL | USED | WRITE])
  assert.deepEqual(ring.used(1), second)
  assert.deepEqual(ring.used(2), [1, 8, AVAIL | USED | WRITE])
})

test('descriptors are used in the order of completion  @virtio 2.8.12', () => {
  const ring = new Ring(false)
  for (const id of [5, 6, 7]) ring.offer(id)
  const [five, six, seven] = [ring.pop(), ring.pop(), ring.pop()]
  for (const chain of [seven, five, six]) ring.queue.push(chain, 0)
  ring.queue.publish()
  assert.deepEqual(
    [0, 1, 2].map((index) => ring.used(index)[1]),
    [7, 5, 6],
  )
})

test('the driver may use any buffer ids, also the same one twice', () => {
  const ring = new Ring(false)
  for (const id of [0xffff, 1, 1]) ring.offer(id)
  const chains = [ring.pop(), ring.pop(), ring.pop()]
  for (const chain of chains) ring.queue.push(chain, 0)
  ring.queue.publish()
  assert.deepEqual(
    [0, 1, 2].map((index) => ring.used(index)[1]),
    [0xffff, 1, 1],
  )
})

test('a list does not continue into descriptors that the device holds  @virtio 2.8.17', () => {
  const ring = new Ring(false)
  ring.offer(0)
  ring.offer(1)
  ring.pop()
  ring.pop()
  ring.offer(2, NEXT)
  ring.offer(3, NEXT)
  ring.offer(4)
  assert.equal(ring.queue.pop(), undefined)
  assert.ok(ring.broken)
})

test('the device requests notifications by flags or by a ring position  @virtio 2.8.10 2.8.14', () => {
  const plain = new Ring(false)
  const events = new Ring(true)
  for (let sent = 0; sent < 3 * SIZE; sent++) {
    assert.equal(plain.queue.pop(), undefined)
    assert.deepEqual(plain.deviceEvents, [0, ENABLE])
    assert.equal(events.queue.pop(), undefined)
    const wrap = Math.floor(sent / SIZE) % 2 === 0
    assert.deepEqual(events.deviceEvents, [(sent % SIZE) | (wrap ? 0x8000 : 0), DESC])
    plain.offer(0)
    const chain = plain.pop()
    assert.deepEqual(plain.deviceEvents, [0, DISABLE])
    plain.queue.push(chain, 0)
    plain.queue.publish()
    events.offer(0)
    events.serve()
  }
})

test('a descriptor made available while the device enables notifications is found', () => {
  for (const eventIdx of [false, true]) {
    // The driver checked the event suppression before the device enabled notifications.
    let offered = false
    const ring: Ring = new Ring(eventIdx, (address) => {
      if (address !== DEVICE_EVENTS + 2 || offered) return
      offered = true
      ring.offer(0)
    })
    assert.ok(ring.queue.pop(), 'a lost wake-up: the device would sleep while the driver waits')
  }
})

test('the driver enables and disables interrupts  @virtio 2.8.10', () => {
  const RESERVED = 3
  for (const [eventIdx, flags, wanted] of [
    [false, ENABLE, 1],
    [false, DISABLE, 0],
    // Without EVENT_IDX this value is reserved; an additional interrupt does no harm.
    [false, DESC, 1],
    [false, RESERVED, 1],
    [true, ENABLE, 1],
    [true, DISABLE, 0],
    [true, RESERVED, 1],
  ] as const) {
    const ring = new Ring(eventIdx)
    // At another position of the ring, with reserved bits set.
    ring.suppress(flags | 0xfffc, 2)
    ring.offer(0)
    ring.serve()
    assert.equal(ring.interrupts, wanted, `${eventIdx} ${flags}`)
  }
})

test('with EVENT_IDX only the requested descriptor interrupts, in its round  @virtio 2.8.10', () => {
  for (let before = 0; before < 2 * SIZE; before++) {
    for (let event = 0; event < 2 * SIZE; event++) {
      for (let batch = 1; batch <= SIZE; batch++) {
        const ring = new Ring(true)
        ring.suppress(DISABLE)
        for (let i = 0; i < before; i++) {
          ring.offer(0)
          ring.serve()
        }
        ring.suppress(DESC, event % SIZE, event < SIZE)
        for (let i = 0; i < batch; i++) ring.offer(0)
        assert.equal(ring.serve(), batch)
        const exposed = Array.from({ length: batch }, (_, i) => (before + i) % (2 * SIZE))
        assert.equal(ring.interrupts, exposed.includes(event) ? 1 : 0, `${before} ${event} ${batch}`)
      }
    }
  }
})

test('a requested descriptor in the middle of a list interrupts when the list is used', () => {
  const ring = new Ring(true)
  ring.suppress(DESC, 1)
  ring.offer(0, NEXT)
  ring.offer(0)
  ring.serve()
  assert.equal(ring.interrupts, 1)
})

test('an event position outside the ring never interrupts and does not break the queue', () => {
  const ring = new Ring(true)
  for (let i = 0; i < 20; i++) {
    ring.suppress(DESC, 0x7fff, i % 2 === 0)
    ring.offer(0)
    ring.serve()
  }
  assert.equal(ring.interrupts, 0)
})
