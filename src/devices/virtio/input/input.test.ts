import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeviceId } from '../../../virtio/device-id.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { activateDevice, type DeviceRigOptions } from '../../../virtio/testing/device-rig.ts'
import type { Request } from '../../../virtqueue/driver/index.ts'
import type { InputDescription } from './description.ts'
import { MAX_WAITING } from './event-backlog.ts'
import { EV_ABS, EV_KEY, EV_LED, EV_REL, EV_SYN } from './event-codes.ts'
import { InputDevice, type StatusListener } from './input.ts'
import { ConfigSelect } from './protocol.ts'

const GADGET: InputDescription = {
  name: 'Gadget',
  serial: 'é1',
  ids: { bus: 6, vendor: 0x1234, product: 0xfffe, version: 3 },
  properties: [0, 5],
  events: { [EV_KEY]: [1, 30, 31, 0x110], [EV_REL]: [], [EV_ABS]: [0, 1, 17], [EV_LED]: [0, 1, 2] },
  axes: { 0: { min: -5, max: 32767 }, 17: { min: 0, max: 9, fuzz: 1, flat: 2, resolution: 40 } },
}

/** Driver's side: adds buffers, and collects the events in them. */
class EventDriver {
  readonly rig
  readonly #requests: Request[] = []

  constructor(device: InputDevice, options?: DeviceRigOptions) {
    this.rig = activateDevice(device, options)
  }

  offer(buffers: number, length = 8): void {
    for (let i = 0; i < buffers; i++) this.#requests.push(this.rig.submit(0, [], [length]))
  }

  /** Returns new events as type, code and value. */
  read(): number[][] {
    const events: number[][] = []
    while (this.#requests[0]?.reply) {
      const bytes = this.#requests.shift()?.reply?.bytes ?? new Uint8Array()
      if (bytes.length === 0) continue
      const view = new DataView(bytes.slice().buffer)
      assert.equal(bytes.length, 8)
      events.push([view.getUint16(0, true), view.getUint16(2, true), view.getInt32(4, true)])
    }
    return events
  }
}

/** Returns the answer to a query: `size` bytes. */
function ask(device: InputDevice, select: number, subsel: number): number[] {
  device.config.write(0, 1, select)
  device.config.write(1, 1, subsel)
  return Array.from({ length: device.config.read(2, 1) }, (_, i) => device.config.read(8 + i, 1))
}

const text = (bytes: number[]) => new TextDecoder().decode(Uint8Array.from(bytes))
const END = [EV_SYN, 0, 0]

const RINGS = [
  ['split', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)],
  ['split, event index', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.EVENT_IDX)],
  ['packed, in order', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.RING_PACKED, Feature.IN_ORDER)],
] as const

test('an input device has an eventq and a statusq, and no features  @virtio 5.8.1, 5.8.2, 5.8.3', () => {
  const device = new InputDevice(GADGET)
  assert.equal(device.id, DeviceId.INPUT)
  assert.equal(device.queueSizes.length, 2)
  assert.equal(device.features, 0n)
  assert.equal(device.config.size, 136)
})

test('the answer to every query is encoded from the description  @virtio 5.8.4', () => {
  const device = new InputDevice(GADGET)
  assert.equal(text(ask(device, ConfigSelect.ID_NAME, 0)), 'Gadget')
  assert.equal(text(ask(device, ConfigSelect.ID_SERIAL, 0)), 'é1')
  assert.deepEqual(ask(device, ConfigSelect.ID_DEVIDS, 0), [6, 0, 0x34, 0x12, 0xfe, 0xff, 3, 0])
  assert.deepEqual(ask(device, ConfigSelect.PROP_BITS, 0), [0b10_0001])
  const keys = ask(device, ConfigSelect.EV_BITS, EV_KEY)
  assert.equal(keys.length, 0x110 / 8 + 1)
  assert.deepEqual([keys[0], keys[3], keys[34]], [0b10, 0b1100_0000, 1])
  assert.deepEqual(ask(device, ConfigSelect.EV_BITS, EV_ABS), [0b11, 0, 0b10])
  assert.deepEqual(ask(device, ConfigSelect.EV_BITS, EV_LED), [0b111])
  const axis = ask(device, ConfigSelect.ABS_INFO, 0)
  assert.deepEqual(axis, [0xfb, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, ...new Array(12).fill(0)])
  assert.deepEqual(
    ask(device, ConfigSelect.ABS_INFO, 17).filter((_, i) => i % 4 === 0),
    [0, 9, 1, 2, 40],
  )
})

test('a query without an answer has size 0, and no bytes of the previous answer  @virtio 5.8.5.2', () => {
  const device = new InputDevice(GADGET)
  for (const [select, subsel] of [
    [ConfigSelect.UNSET, 0],
    [ConfigSelect.ID_NAME, 1],
    [ConfigSelect.EV_BITS, EV_REL],
    [ConfigSelect.EV_BITS, 0xff],
    [ConfigSelect.ABS_INFO, 1],
    [0x13, 0],
    [0xff, 0xff],
  ]) {
    assert.notDeepEqual(ask(device, ConfigSelect.EV_BITS, EV_KEY), [])
    assert.deepEqual(ask(device, select, subsel), [])
    for (let offset = 2; offset < 136; offset++) assert.equal(device.config.read(offset, 1), 0)
  }
})

test('only select and subsel are writable, in any order or at once  @virtio 5.8.5.1', () => {
  const device = new InputDevice(GADGET)
  device.config.write(1, 1, EV_LED)
  device.config.write(0, 1, ConfigSelect.EV_BITS)
  assert.equal(device.config.read(8, 1), 0b111)
  device.config.write(0, 2, ConfigSelect.EV_BITS | (EV_ABS << 8))
  assert.equal(device.config.read(2, 1), 3)
  device.config.write(2, 1, 99)
  device.config.write(8, 4, 0xffff_ffff)
  device.config.write(132, 4, 0xffff_ffff)
  assert.equal(device.config.read(2, 1), 3)
  assert.equal(device.config.read(8, 4), 0b10_0000_0000_0000_0011)
  assert.equal(device.config.read(132, 4), 0)
  device.config.write(0, 4, 0xffff_0001)
  assert.equal(device.config.read(2, 1), 6)
})

test('after any write, the configuration space has the query and its answer  @virtio 5.8.4', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(140), fc.constantFrom(1, 2, 4), fc.integer({ min: 0, max: 0xffff_ffff })), {
        maxLength: 30,
      }),
      (writes) => {
        const device = new InputDevice(GADGET)
        for (const [offset, width, value] of writes) {
          device.config.write(offset, width, value)
          const space = Array.from({ length: 136 }, (_, i) => device.config.read(i, 1))
          const expected = ask(new InputDevice(GADGET), space[0], space[1])
          assert.deepEqual(space.slice(2, 8), [expected.length, 0, 0, 0, 0, 0])
          assert.deepEqual(space.slice(8), [...expected, ...new Array(128 - expected.length).fill(0)])
        }
      },
    ),
  )
})

test('a description that does not fit the configuration space is refused', () => {
  assert.throws(() => new InputDevice({ ...GADGET, name: 'x'.repeat(129) }), RangeError)
  assert.throws(() => new InputDevice({ ...GADGET, events: { [EV_KEY]: [1024] } }), RangeError)
})

for (const [ring, features] of RINGS) {
  test(`the events of a frame reach the driver in order, followed by SYN_REPORT (${ring})  @virtio 5.8.6`, () => {
    const device = new InputDevice(GADGET)
    const driver = new EventDriver(device, { features })
    driver.offer(64)
    device.send([[EV_KEY, 30, 1]])
    device.send([
      [EV_ABS, 0, -2],
      [EV_ABS, 1, 7],
    ])
    assert.deepEqual(driver.read(), [[EV_KEY, 30, 1], END, [EV_ABS, 0, -2], [EV_ABS, 1, 7], END])
  })

  test(`frames arrive in order and complete, as a whole if no buffer is too small (${ring})  @virtio 5.8.6.2`, () => {
    const step = fc.oneof(
      fc.record({ send: fc.array(fc.constantFrom(30, 31), { minLength: 1, maxLength: 5 }) }),
      fc.record({ offer: fc.integer({ min: 1, max: 5 }), length: fc.constantFrom(8, 9, 64) }),
      fc.record({ offer: fc.integer({ min: 1, max: 5 }), length: fc.constantFrom(0, 7) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, tooSmall) => {
        const device = new InputDevice(GADGET)
        const driver = new EventDriver(device, { features, queueSize: 16, memorySize: 1 << 20 })
        const sent: number[][] = []
        const seen: number[][] = []
        let value = 0
        for (const action of steps) {
          if ('send' in action) {
            const frame = action.send.map((code) => [EV_KEY, code, value++] as const)
            device.send(frame)
            sent.push(...frame.map((event) => [...event]), END)
          } else if (tooSmall || action.length >= 8)
            driver.offer(Math.min(action.offer, driver.rig.rigs[0].driver.free), action.length)
          seen.push(...driver.read())
          assert.deepEqual(seen, sent.slice(0, seen.length))
          if (!tooSmall) assert.deepEqual(seen.at(-1) ?? END, END, 'the driver saw half a frame')
        }
        while (seen.length < sent.length) {
          driver.offer(driver.rig.rigs[0].driver.free)
          const more = driver.read()
          assert.ok(more.length > 0)
          seen.push(...more)
        }
        assert.deepEqual(seen, sent)
      }),
      { numRuns: 60 },
    )
  })
}

test('a frame longer than the queue is delivered in parts, before the next frame', () => {
  const device = new InputDevice(GADGET)
  const driver = new EventDriver(device, { queueSize: 4 })
  device.send(Array.from({ length: 9 }, (_, i) => [EV_KEY, 30, i]))
  device.send([[EV_KEY, 31, 1]])
  const seen: number[][] = []
  for (let i = 0; i < 4; i++) {
    driver.offer(4)
    seen.push(...driver.read())
  }
  assert.deepEqual(seen, [...Array.from({ length: 9 }, (_, i) => [EV_KEY, 30, i]), END, [EV_KEY, 31, 1], END])
})

test('buffers too small for an event or device-readable are returned with length 0  @virtio 5.8.6.1', () => {
  const device = new InputDevice(GADGET)
  const driver = new EventDriver(device)
  const readable = driver.rig.submit(0, [[1, 2, 3, 4, 5, 6, 7, 8]])
  driver.offer(1, 7)
  driver.offer(1)
  driver.offer(1, 100)
  device.send([[EV_KEY, 30, 1]])
  assert.equal(readable.reply?.written, 0)
  assert.deepEqual(driver.read(), [[EV_KEY, 30, 1], END])
  assert.deepEqual(driver.rig.failures, [])
})

test('events that the description does not list are left out, and empty frames are not sent', () => {
  const device = new InputDevice(GADGET)
  const driver = new EventDriver(device)
  driver.offer(8)
  device.send([
    [EV_KEY, 2, 1],
    [EV_KEY, 30, 1],
    [99, 0, 1],
  ])
  device.send([[EV_KEY, 32, 1]])
  device.send([])
  assert.deepEqual(driver.read(), [[EV_KEY, 30, 1], END])
})

test('frames sent without a driver are dropped', async () => {
  const device = new InputDevice(GADGET)
  device.send([[EV_KEY, 30, 1]])
  const driver = new EventDriver(device)
  driver.offer(4)
  assert.deepEqual(driver.read(), [])
  await driver.rig.reset()
  device.send([[EV_KEY, 30, 0]])
  assert.deepEqual(driver.read(), [])
})

test('a driver that adds no buffers for long receives every release, and the backlog is bounded', () => {
  const device = new InputDevice(GADGET)
  const driver = new EventDriver(device)
  for (let i = 0; i < 5000; i++) {
    device.send([[EV_KEY, 30 + (i % 2), i & 2 ? 0 : 1]])
    device.send([[EV_ABS, 0, i]])
  }
  device.send([[EV_KEY, 30, 0]])
  device.send([[EV_KEY, 31, 0]])
  const { waiting } = device.inspect() as { waiting: number }
  assert.ok(waiting <= MAX_WAITING)
  const pressed = new Set<number>()
  for (let i = 0; i < 40; i++) {
    driver.offer(driver.rig.rigs[0].driver.free)
    for (const [type, code, value] of driver.read()) {
      if (type === EV_KEY) value === 1 ? pressed.add(code) : pressed.delete(code)
    }
  }
  assert.deepEqual([...pressed], [])
})

for (const [ring, features] of RINGS) {
  test(`a status request can hold several events, and is returned with length 0 (${ring})  @virtio 5.8.6`, () => {
    const heard: number[][] = []
    const listen: StatusListener = (...event) => heard.push(event)
    const { rig } = new EventDriver(new InputDevice(GADGET, listen), { features })
    assert.equal(rig.send(1, [[0x11, 0, 1, 0, 1, 0, 0, 0]]).written, 0)
    rig.send(1, [
      [0x14, 0, 1],
      [0, 0xff, 0xff, 0xff, 0xff],
      [0x11, 0, 0, 0, 0, 0, 0, 0x80],
    ])
    assert.deepEqual(heard, [
      [EV_LED, 1, 1],
      [0x14, 1, -1],
      [EV_LED, 0, -(2 ** 31)],
    ])
  })
}

test('short, empty, device-writable or too long status requests are ignored and returned  @virtio 5.8.6.1', () => {
  const heard: number[][] = []
  const device = new InputDevice(GADGET, (...event) => heard.push(event))
  const { rig } = new EventDriver(device)
  assert.equal(rig.send(1, [[0x11, 0, 0]]).written, 0)
  assert.equal(rig.send(1, [[]]).written, 0)
  assert.equal(rig.send(1, [], [64]).written, 0)
  assert.deepEqual(heard, [])
  assert.equal(rig.send(1, [new Uint8Array(4 << 20)]).written, 0)
  assert.ok(heard.length > 0 && heard.length <= 64)
  rig.send(1, [[0x11, 0, 2, 0, 1, 0, 0, 0, 99]])
  assert.deepEqual(heard.at(-1), [EV_LED, 2, 1])
})

test('a reset makes popped buffers available again, and clears the events and the query  @virtio 2.4', async () => {
  const device = new InputDevice(GADGET)
  const driver = new EventDriver(device)
  ask(device, ConfigSelect.ID_NAME, 0)
  const waiting = driver.rig.submit(0, [], [8])
  device.send([[EV_KEY, 30, 1]])
  assert.equal(driver.rig.rigs[0].queue.position.inFlight, 1)
  await driver.rig.reset()
  assert.equal(waiting.reply, undefined)
  assert.equal(driver.rig.rigs[0].queue.position.inFlight, 0)
  assert.equal(device.config.read(0, 4), 0)
  assert.equal(device.config.read(8, 4), 0)

  const next = new EventDriver(device)
  next.offer(8)
  assert.deepEqual(next.read(), [])
  device.send([[EV_KEY, 31, 1]])
  assert.deepEqual(next.read(), [[EV_KEY, 31, 1], END])
})

test('a reset of the eventq makes popped buffers available again, and keeps the events for the next queue  @virtio 2.6.1', () => {
  const device = new InputDevice(GADGET)
  const driver = new EventDriver(device)
  const waiting = driver.rig.submit(0, [], [8])
  device.send([[EV_KEY, 30, 1]])
  device.stopQueue(1)
  assert.equal(driver.rig.rigs[0].queue.position.inFlight, 1)
  device.stopQueue(0)
  assert.equal(driver.rig.rigs[0].pending, 1)
  assert.deepEqual(driver.rig.rigs[0].queue.position, { available: 0, used: 0, inFlight: 0 })
  const queue = driver.rig.queues[0]
  driver.rig.queues[0] = undefined
  device.send([[EV_KEY, 31, 1]])
  device.notify(0)
  driver.rig.queues[0] = queue
  driver.offer(8)
  device.notify(0)
  assert.deepEqual([...(waiting.reply?.bytes ?? [])], [EV_KEY, 0, 30, 0, 1, 0, 0, 0])
  assert.deepEqual(driver.read(), [END, [EV_KEY, 31, 1], END])
})

test('notifications for queues that are not enabled have no effect', () => {
  const device = new InputDevice(GADGET)
  new EventDriver(device, { disabled: [0, 1] })
  device.send([[EV_KEY, 30, 1]])
  for (const queue of [0, 1, 2]) device.notify(queue)
  device.stopQueue(0)
})

test('after random actions of a driver and a reset, the next driver receives its events', async () => {
  const step = fc.oneof(
    fc.record({ send: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ offer: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ backwards: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ status: fc.integer({ min: 0, max: 40 }) }),
    fc.record({ config: fc.tuple(fc.nat(255), fc.nat(255)) }),
    fc.record({ reset: fc.constant(true) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), async (steps, packed) => {
      const ring = packed ? featureSet(Feature.RING_PACKED) : 0n
      const options = { features: ring | featureSet(Feature.VERSION_1), queueSize: 8, memorySize: 1 << 20 }
      const device = new InputDevice(GADGET)
      let driver = new EventDriver(device, options)
      const free = (queue: number) => driver.rig.rigs[queue].driver.free > 0
      for (const action of steps) {
        if ('send' in action) device.send(Array.from({ length: action.send }, (_, i) => [EV_KEY, 30, i]))
        else if ('offer' in action && free(0)) driver.offer(1, action.offer)
        else if ('backwards' in action && free(0)) driver.rig.submit(0, [new Uint8Array(action.backwards)])
        else if ('status' in action && free(1)) driver.rig.submit(1, [new Uint8Array(action.status)])
        else if ('config' in action) ask(device, ...action.config)
        else if ('reset' in action) {
          await driver.rig.reset()
          driver = new EventDriver(device, options)
        }
        assert.deepEqual(driver.rig.failures, [])
      }
      await driver.rig.reset()
      driver = new EventDriver(device, options)
      driver.offer(8)
      device.send([[EV_KEY, 1, 1]])
      assert.deepEqual(driver.read(), [[EV_KEY, 1, 1], END])
    }),
    { numRuns: 100 },
  )
})
