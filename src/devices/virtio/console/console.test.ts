import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeviceId } from '../../../virtio/device-id.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import { ConsoleDevice } from './console.ts'
import { type ConsolePortHost, MAX_INPUT, MAX_OUTPUT } from './port.ts'
import { ConsoleFeature, ControlEvent } from './protocol.ts'
import { ConsoleDriver } from './testing/console-driver.ts'
import { inspectPort, KeepingHost, singlePort, twoPorts, written } from './testing/consoles.ts'

const RINGS = [
  ['split', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)],
  ['split, event index', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.EVENT_IDX)],
  ['packed, in order', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.RING_PACKED, Feature.IN_ORDER)],
] as const

const bytesFrom = (first: number, length: number) => Array.from({ length }, (_, i) => (first + i) & 0xff)

test('a single console port needs no control queues  @virtio 5.3.2, 5.3.3', () => {
  const device = singlePort()
  assert.equal(device.id, DeviceId.CONSOLE)
  assert.equal(device.features, featureSet(ConsoleFeature.SIZE))
  assert.equal(device.queueSizes.length, 2)
  assert.equal(device.config.read(0, 2), 80)
  assert.equal(device.config.read(2, 2), 25)
})

test('several ports, or one that is not a console, have control queues  @virtio 5.3.2, 5.3.4', () => {
  const device = twoPorts()
  assert.equal(device.features, featureSet(ConsoleFeature.SIZE, ConsoleFeature.MULTIPORT))
  assert.equal(device.queueSizes.length, 6)
  assert.equal(device.config.read(4, 4), 2)
  const channel = new ConsoleDevice([{ name: 'agent', isConsole: false, host: new KeepingHost() }])
  assert.equal(channel.features, featureSet(ConsoleFeature.MULTIPORT))
  assert.equal(channel.queueSizes.length, 4)
})

test('resize changes the configuration space, and notifies the driver  @virtio 5.3.6', () => {
  const device = singlePort()
  const rig = activateDevice(device)
  device.resize(132, 43)
  assert.equal(rig.configChanges, 1)
  assert.equal(device.config.read(0, 4), 132 | (43 << 16))
  const channel = new ConsoleDevice([{ name: 'agent', isConsole: false, host: new KeepingHost() }])
  const other = activateDevice(channel)
  channel.resize(132, 43)
  assert.equal(other.configChanges, 0)
})

test('the size is announced at the first output, as Linux needs; with MULTIPORT by a message', () => {
  const device = singlePort()
  const driver = new ConsoleDriver(device)
  assert.equal(driver.rig.configChanges, 0)
  driver.write(0, [1])
  driver.write(0, [2])
  assert.equal(driver.rig.configChanges, 1)

  const multiport = new ConsoleDriver(
    new ConsoleDevice([{ name: '', isConsole: false, host: new KeepingHost() }], { columns: 80, rows: 25 }),
  )
  multiport.write(0, [1])
  assert.equal(multiport.rig.configChanges, 0)
})

test('a byte written to emerg_wr is output at any time, and no other field is writable  @virtio 5.3.5.1', async () => {
  const bytes: number[] = []
  const device = new ConsoleDevice(
    [{ name: '', isConsole: true, host: new KeepingHost() }],
    { columns: 80, rows: 25 },
    (byte) => bytes.push(byte),
  )
  assert.equal(device.features, featureSet(ConsoleFeature.SIZE, ConsoleFeature.EMERG_WRITE))
  device.config.write(8, 4, 0x1234_5641)
  device.config.write(8, 1, 0x42)
  device.config.write(9, 1, 0x99)
  device.config.write(0, 4, 0xffff_ffff)
  device.config.write(4, 4, 0)
  const rig = activateDevice(device)
  device.config.write(8, 2, 0x43)
  await rig.reset()
  device.config.write(8, 4, 0x44)
  assert.deepEqual(bytes, [0x41, 0x42, 0x43, 0x44])
  assert.deepEqual(
    [0, 2, 4, 8].map((offset) => device.config.read(offset, offset < 4 ? 2 : 4)),
    [80, 25, 1, 0],
  )
  const readOnly = singlePort()
  readOnly.config.write(8, 4, 0x41)
  assert.equal(readOnly.config.read(8, 4), 0)
})

for (const [ring, features] of RINGS) {
  test(`output reaches the host complete and in order, in whatever parts it is taken (${ring})  @virtio 5.3.6`, () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.record({ write: fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 4 }) }),
            fc.record({ room: fc.integer({ min: 0, max: 60 }) }),
          ),
          { maxLength: 60 },
        ),
        (steps) => {
          const host = new KeepingHost()
          host.room = 0
          const device = singlePort(host)
          const driver = new ConsoleDriver(device, { features, memorySize: 1 << 20 })
          const sent: number[] = []
          for (const step of steps) {
            if ('write' in step) {
              if (driver.rig.rigs[1].driver.free < 4) continue
              const parts = step.write.map((length) => bytesFrom(sent.length, length))
              driver.write(0, ...parts)
              sent.push(...parts.flat())
            } else {
              host.room += step.room
              device.resumeOutput(0)
            }
            assert.deepEqual(host.bytes, sent.slice(0, host.bytes.length))
            assert.ok(host.bytes.length === sent.length || host.room === 0)
            if (host.bytes.length < sent.length) assert.ok(device.outputPending(0))
          }
          host.room = Number.POSITIVE_INFINITY
          device.resumeOutput(0)
          assert.deepEqual(host.bytes, sent)
          assert.equal(device.outputPending(0), false)
          assert.equal(driver.rig.rigs[1].pending, 0)
        },
      ),
      { numRuns: 50 },
    )
  })

  test(`input reaches the driver complete and in order, as it adds buffers (${ring})  @virtio 5.3.6`, () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.record({ input: fc.integer({ min: 0, max: 200 }) }),
            fc.record({ offer: fc.integer({ min: 0, max: 50 }) }),
          ),
          { maxLength: 60 },
        ),
        (steps) => {
          const device = singlePort()
          const driver = new ConsoleDriver(device, { features, memorySize: 1 << 20 })
          let given = 0
          const got: number[] = []
          for (const step of steps) {
            if ('input' in step) given += device.input(0, Uint8Array.from(bytesFrom(given, step.input)))
            else if (driver.rig.rigs[0].driver.free > 0) driver.offer(0, 1, step.offer)
            got.push(...driver.read(0))
          }
          while (got.length < given) {
            driver.offer(0, 1, 1000)
            got.push(...driver.read(0))
          }
          assert.deepEqual(got, bytesFrom(0, given))
        },
      ),
      { numRuns: 50 },
    )
  })
}

test('a request is returned with length 0 when the host has taken all of it  @virtio 5.3.6', () => {
  const host = new KeepingHost()
  host.room = 3
  const device = singlePort(host)
  const driver = new ConsoleDriver(device)
  const first = driver.write(0, [1, 2], [3, 4])
  const second = driver.write(0, [5])
  assert.deepEqual(host.bytes, [1, 2, 3])
  assert.equal(written(first), undefined)
  host.room = 1
  device.resumeOutput(0)
  assert.equal(written(first), 0)
  assert.equal(written(second), undefined)
  assert.ok(device.outputPending(0))
  host.room = 9
  device.resumeOutput(0)
  assert.deepEqual(host.bytes, [1, 2, 3, 4, 5])
  assert.equal(written(second), 0)
})

test('outputPending offers output in the ring to the host before the driver’s notification', () => {
  const host = new KeepingHost()
  host.room = 1
  const device = singlePort(host)
  const driver = new ConsoleDriver(device)
  assert.equal(device.outputPending(0), false)
  driver.rig.rigs[1].add([[7, 8]])
  driver.rig.rigs[1].driver.kick()
  assert.ok(device.outputPending(0))
  assert.deepEqual(host.bytes, [7])
  host.room = 1
  device.resumeOutput(0)
  assert.deepEqual(host.bytes, [7, 8])
  assert.equal(device.outputPending(0), false)
  host.room = 9
  driver.rig.rigs[1].add([[9]])
  driver.rig.rigs[1].driver.kick()
  assert.equal(device.outputPending(0), false)
  assert.deepEqual(host.bytes, [7, 8, 9])
  assert.equal(device.outputPending(5), false)
})

test('output past the limit of a request is dropped, and the next request is served', () => {
  let output = 0
  const device = singlePort({
    write(bytes) {
      output += bytes.length
      return bytes.length
    },
  })
  const driver = new ConsoleDriver(device)
  const huge = driver.write(0, new Uint8Array(MAX_OUTPUT - 1), new Uint8Array(3 << 20))
  assert.equal(written(huge), 0)
  assert.equal(output, MAX_OUTPUT)
  driver.write(0, [1])
  assert.equal(output, MAX_OUTPUT + 1)
  assert.equal(inspectPort(device, 0).outputDropped, (3 << 20) - 1)
})

test('empty buffers and those of the wrong direction are ignored and returned  @virtio 5.3.6.1', () => {
  const host = new KeepingHost()
  const device = singlePort(host)
  const { rig } = new ConsoleDriver(device)
  assert.equal(rig.send(1, [], [10]).written, 0)
  assert.equal(rig.send(1, [[]]).written, 0)
  assert.equal(rig.send(1, [[1]], [10]).written, 0)
  assert.deepEqual(host.bytes, [1])

  const readable = rig.submit(0, [[1, 2, 3]])
  const empty = rig.submit(0, [], [0])
  const mixed = rig.submit(0, [[9]], [2])
  assert.equal(device.input(0, Uint8Array.of(4, 5)), 2)
  assert.equal(written(readable), 0)
  assert.equal(written(empty), 0)
  assert.deepEqual([...(mixed.reply?.bytes ?? [])], [4, 5])
  assert.equal(inspectPort(device, 0).emptyInputBuffers, 2)
})

test('input beyond the limit is refused, and onInputRoom is called when there is room', () => {
  const device = singlePort()
  const driver = new ConsoleDriver(device)
  const rooms: number[] = []
  device.onInputRoom = (port) => rooms.push(port)
  const input = new Uint8Array(MAX_INPUT + 100)
  assert.equal(device.input(0, input), MAX_INPUT)
  assert.equal(device.input(0, input), 0)
  assert.deepEqual(rooms, [])
  driver.offer(0, 1, 10)
  assert.deepEqual(rooms, [0])
  driver.offer(0, 1, 10)
  assert.deepEqual(rooms, [0], 'once a refusal')
  assert.equal(device.input(0, input.subarray(0, 20)), 20)
  assert.equal(device.input(7, input), 0)
})

test('input given within onInputRoom follows waiting input', () => {
  const device = singlePort()
  const driver = new ConsoleDriver(device)
  const input = Uint8Array.from({ length: MAX_INPUT + 5000 }, (_, i) => i % 251)
  let given = device.input(0, input)
  device.onInputRoom = () => {
    given += device.input(0, input.subarray(given))
  }
  const got: number[] = []
  while (got.length < input.length) {
    driver.offer(0, 4, 1000)
    got.push(...driver.read(0))
  }
  assert.deepEqual(Uint8Array.from(got), input)
})

test('input waits until the guest opens the port, even if there are buffers  @virtio 5.3.6.2', () => {
  const device = twoPorts()
  const driver = new ConsoleDriver(device)
  driver.start()
  assert.equal(device.input(1, Uint8Array.of(1, 2, 3)), 3)
  driver.offer(1, 2, 100)
  assert.deepEqual(driver.read(1), [])
  driver.say(1, ControlEvent.PORT_OPEN, 1)
  assert.deepEqual(driver.read(1), [1, 2, 3])
  driver.say(1, ControlEvent.PORT_OPEN, 0)
  device.input(1, Uint8Array.of(4))
  assert.deepEqual(driver.read(1), [])
  driver.say(1, ControlEvent.PORT_OPEN, 1)
  assert.deepEqual(driver.read(1), [4])
})

test('input that arrives before any driver is kept through the first reset', async () => {
  const device = twoPorts()
  device.input(0, Uint8Array.of(1, 2))
  device.input(1, Uint8Array.of(3))
  device.reset()
  const driver = new ConsoleDriver(device)
  driver.start()
  driver.offer(0, 1, 10)
  assert.deepEqual(driver.read(0), [1, 2])
})

test('without negotiated MULTIPORT only port 0 works, and is open  @virtio 5.3.2', () => {
  const opened: boolean[] = []
  const hosts = [Object.assign(new KeepingHost(), { opened: (open: boolean) => opened.push(open) }), new KeepingHost()]
  const device = twoPorts(...hosts)
  const driver = new ConsoleDriver(device, { features: featureSet(Feature.VERSION_1) })
  assert.deepEqual(opened, [true])
  driver.write(0, [1])
  driver.write(1, [2])
  driver.offer(0, 1, 4)
  driver.offer(1, 1, 4)
  device.input(0, Uint8Array.of(3))
  device.input(1, Uint8Array.of(4))
  driver.offerControl(1)
  driver.rig.submit(3, [[0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0]])
  device.setHostOpen(0, false)
  driver.listen()
  assert.deepEqual(hosts[0].bytes, [1])
  assert.deepEqual(hosts[1].bytes, [])
  assert.deepEqual(driver.read(0), [3])
  assert.deepEqual(driver.read(1), [])
  assert.deepEqual(driver.received, [])
})

test('the order is kept if the host gives input or resumes output within write', () => {
  const got: number[] = []
  const host: ConsolePortHost = {
    write(bytes) {
      device.resumeOutput(0)
      got.push(bytes[0])
      device.input(0, bytes.slice(0, 1))
      return 1
    },
  }
  const device = singlePort(host)
  const driver = new ConsoleDriver(device)
  driver.offer(0, 8, 1)
  driver.write(0, [1, 2, 3])
  driver.write(0, [4])
  while (device.outputPending(0)) device.resumeOutput(0)
  assert.deepEqual(got, [1, 2, 3, 4])
  assert.deepEqual(driver.read(0), [1, 2, 3, 4])
})

test('notifications for queues that are not enabled have no effect', () => {
  const device = twoPorts()
  const driver = new ConsoleDriver(device, { disabled: [0, 1, 2, 4, 5] })
  driver.say(0, ControlEvent.DEVICE_READY, 1)
  driver.say(1, ControlEvent.PORT_OPEN, 1)
  assert.equal(device.input(1, Uint8Array.of(1)), 1)
  for (let queue = 0; queue < 8; queue++) device.notify(queue)
  device.resumeOutput(1)
  assert.equal(device.outputPending(1), false)
})

test('for random actions of driver and host, streams are complete and all chains are returned', async () => {
  const step = fc.oneof(
    fc.record({
      say: fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: 2 })),
    }),
    fc.record({ control: fc.integer({ min: 0, max: 40 }) }),
    fc.record({ offer: fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 30 })) }),
    fc.record({ write: fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 30 })) }),
    fc.record({ input: fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 30 })) }),
    fc.record({ room: fc.tuple(fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 40 })) }),
    fc.record({ hostOpen: fc.boolean() }),
    fc.record({ reset: fc.constant(true) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), fc.boolean(), async (steps, packed) => {
      const hosts = [new KeepingHost(), new KeepingHost()]
      for (const host of hosts) host.room = 0
      const device = twoPorts(...hosts)
      const ring = packed ? featureSet(Feature.RING_PACKED) : 0n
      const features = device.features | ring | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
      let driver = new ConsoleDriver(device, { features, memorySize: 1 << 20 })
      const sent: number[][] = [[], []]
      const given = [0, 0]
      const got: number[][] = [[], []]
      const free = (queue: number) => driver.rig.rigs[queue].driver.free > 0
      for (const action of steps) {
        if ('say' in action) driver.say(...action.say)
        else if ('control' in action && free(2)) driver.offerControl(1, action.control)
        else if ('offer' in action && free(4 * action.offer[0])) driver.offer(action.offer[0], 1, action.offer[1])
        else if ('write' in action && free(4 * action.write[0] + 1)) {
          const [port, length] = action.write
          const bytes = bytesFrom(sent[port].length, length)
          sent[port].push(...bytes)
          driver.write(port, bytes)
        } else if ('input' in action) {
          const [port, length] = action.input
          given[port] += device.input(port, Uint8Array.from(bytesFrom(given[port], length)))
        } else if ('room' in action) {
          hosts[action.room[0]].room += action.room[1]
          device.resumeOutput(action.room[0])
        } else if ('hostOpen' in action) device.setHostOpen(1, action.hostOpen)
        else if ('reset' in action) {
          await driver.rig.reset()
          for (const port of [0, 1]) {
            sent[port] = []
            given[port] = 0
            got[port] = []
            hosts[port].bytes.length = 0
          }
          driver = new ConsoleDriver(device, { features, memorySize: 1 << 20 })
        }
        for (const port of [0, 1]) {
          got[port].push(...driver.read(port))
          assert.deepEqual(hosts[port].bytes, sent[port].slice(0, hosts[port].bytes.length))
          assert.deepEqual(got[port], bytesFrom(0, got[port].length))
          assert.ok(got[port].length <= given[port])
        }
        assert.deepEqual(driver.rig.failures, [])
      }
    }),
    { numRuns: 100 },
  )
})
