import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { ConsoleDevice } from './console.ts'
import type { ConsolePortOptions } from './port.ts'
import { CONTROL_RECEIVEQ, CONTROL_TRANSMITQ, ConsoleFeature, ControlEvent } from './protocol.ts'
import { ConsoleDriver } from './testing/console-driver.ts'

const PACKED = featureSet(
  Feature.VERSION_1,
  Feature.INDIRECT_DESC,
  Feature.RING_PACKED,
  ConsoleFeature.SIZE,
  ConsoleFeature.MULTIPORT,
)

function inspect(device: ConsoleDevice) {
  const { controlWaiting, controlLost, controlIgnored, driverFailures } = device.inspect() as Record<string, number>
  return { controlWaiting, controlLost, controlIgnored, driverFailures }
}

/** Creates a terminal and two channels; `opened` collects the calls of the hosts' `opened`. */
function threePorts(opened: [string, boolean][] = []): ConsolePortOptions[] {
  return ['terminal', 'commands', 'files'].map((name, index) => ({
    name,
    isConsole: index === 0,
    host: { write: (bytes) => bytes.length, opened: (open) => opened.push([name, open]) },
  }))
}

for (const [ring, options] of [
  ['split', {}],
  ['packed', { features: PACKED }],
] as const) {
  test(`messages announce every port, then its properties, in Linux’s order (${ring})  @virtio 5.3.6.2`, () => {
    const opened: [string, boolean][] = []
    const driver = new ConsoleDriver(new ConsoleDevice(threePorts(opened), { columns: 80, rows: 25 }), options)
    assert.deepEqual(driver.received, [])
    driver.start()
    const order = (port: number) => driver.received.filter(([id]) => id === port)
    assert.deepEqual(order(0), [
      [0, 'DEVICE_ADD', 1, []],
      [0, 'CONSOLE_PORT', 1, []],
      [0, 'RESIZE', 0, [80, 0, 25, 0]],
      [0, 'PORT_NAME', 1, 'terminal'],
      [0, 'PORT_OPEN', 1, []],
    ])
    assert.deepEqual(order(1), [
      [1, 'DEVICE_ADD', 1, []],
      [1, 'PORT_NAME', 1, 'commands'],
      [1, 'PORT_OPEN', 1, []],
    ])
    assert.equal(driver.received.length, 11)
    assert.deepEqual(opened, [['terminal', true]])
    driver.say(2, ControlEvent.PORT_OPEN, 1)
    driver.say(2, ControlEvent.PORT_OPEN, 1)
    driver.say(2, ControlEvent.PORT_OPEN, 0)
    assert.deepEqual(opened.slice(1), [
      ['files', true],
      ['files', false],
    ])
  })
}

test('a port is added once, even if the driver repeats DEVICE_READY  @virtio 5.3.6.2.1', () => {
  const driver = new ConsoleDriver(new ConsoleDevice(threePorts()))
  driver.start()
  driver.say(0, ControlEvent.DEVICE_READY, 1)
  driver.say(0, ControlEvent.DEVICE_READY, 1)
  driver.listen()
  assert.equal(driver.received.filter(([, event]) => event === 'DEVICE_ADD').length, 3)
})

test('after a resume from sleep, PORT_READY is answered without another DEVICE_ADD  @virtio 5.3.6.2', async () => {
  const device = new ConsoleDevice(threePorts())
  const asleep = new ConsoleDriver(device)
  asleep.start()
  await asleep.rig.reset()

  const awake = new ConsoleDriver(device)
  awake.offerControl(16)
  for (const port of [0, 1, 2]) awake.say(port, ControlEvent.PORT_READY, 1)
  awake.listen()
  assert.deepEqual(
    awake.received.filter(([, event]) => event === 'PORT_OPEN').map(([port]) => port),
    [0, 1, 2],
  )
  awake.say(0, ControlEvent.DEVICE_READY, 1)
  awake.listen()
  assert.deepEqual(
    awake.received.filter(([, event]) => event === 'DEVICE_ADD'),
    [],
  )
})

test('messages wait for buffers, and contain the latest state', () => {
  const device = new ConsoleDevice(threePorts(), { columns: 80, rows: 25 })
  const driver = new ConsoleDriver(device)
  driver.start()
  driver.received.length = 0
  // Uses the remaining buffers, one message each.
  for (let i = 0; i < 8; i++) device.setHostOpen(1, i % 2 === 1)
  for (let i = 0; i < 1000; i++) {
    device.resize(100 + i, 40)
    device.setHostOpen(1, i % 2 === 1)
    device.setHostOpen(2, i % 2 === 1)
  }
  device.setHostOpen(2, false)
  assert.equal(inspect(device).controlWaiting, 3)
  driver.listen()
  assert.deepEqual(driver.received.slice(8), [
    [0, 'RESIZE', 0, [1099 & 0xff, 1099 >> 8, 40, 0]],
    [1, 'PORT_OPEN', 1, []],
    [2, 'PORT_OPEN', 0, []],
  ])
  assert.equal(inspect(device).controlWaiting, 0)
})

test('PORT_OPEN is not sent while the host end is closed', () => {
  const device = new ConsoleDevice(threePorts())
  device.setHostOpen(1, false)
  device.setHostOpen(9, false)
  const driver = new ConsoleDriver(device)
  driver.start()
  const opens = () =>
    driver.received.filter(([port, event]) => port === 1 && event === 'PORT_OPEN').map(([, , value]) => value)
  assert.deepEqual(opens(), [])
  device.setHostOpen(1, true)
  device.setHostOpen(1, true)
  device.setHostOpen(1, false)
  driver.listen()
  assert.deepEqual(opens(), [1, 0])
})

test('RESIZE is sent for port 0, columns first, after the driver’s PORT_READY  @virtio 5.3.6.2', () => {
  const device = new ConsoleDevice(threePorts(), { columns: 80, rows: 25 })
  const driver = new ConsoleDriver(device)
  device.resize(90, 30)
  driver.start()
  device.resize(300, 2)
  driver.listen()
  assert.deepEqual(
    driver.received.filter(([, event]) => event === 'RESIZE'),
    [
      [0, 'RESIZE', 0, [90, 0, 30, 0]],
      [0, 'RESIZE', 0, [44, 1, 2, 0]],
    ],
  )
})

test('no RESIZE is sent if port 0 is not a console', () => {
  const [terminal, commands] = threePorts()
  const device = new ConsoleDevice([commands, terminal], { columns: 80, rows: 25 })
  const driver = new ConsoleDriver(device)
  driver.start()
  device.resize(90, 30)
  driver.listen()
  assert.ok(driver.received.every(([, event]) => event !== 'RESIZE'))
})

test('the default size is 80 columns and 25 rows', () => {
  const driver = new ConsoleDriver(new ConsoleDevice(threePorts()))
  driver.start()
  assert.ok(driver.received.some(([, event, , rest]) => event === 'RESIZE' && rest[0] === 80 && rest[2] === 25))
})

test('no PORT_NAME is sent for a port without a name', () => {
  const driver = new ConsoleDriver(
    new ConsoleDevice([{ name: '', isConsole: false, host: { write: (bytes) => bytes.length } }]),
  )
  driver.start()
  assert.deepEqual(
    driver.received.map(([, event]) => event),
    ['DEVICE_ADD', 'PORT_OPEN'],
  )
})

test('invalid messages are ignored and counted, and failures of the driver are counted', () => {
  const opened: [string, boolean][] = []
  const device = new ConsoleDevice(threePorts(opened))
  const driver = new ConsoleDriver(device)
  driver.offerControl(8)
  driver.say(0, ControlEvent.DEVICE_READY, 0)
  assert.equal(inspect(device).driverFailures, 1)

  driver.say(3, ControlEvent.PORT_READY, 1)
  driver.say(0xffff_ffff, ControlEvent.PORT_OPEN, 1)
  driver.say(0, ControlEvent.DEVICE_ADD, 1)
  driver.say(0, ControlEvent.RESIZE, 1)
  driver.say(0, 0xffff, 1)
  const { rig } = driver
  assert.equal(rig.send(CONTROL_TRANSMITQ, [[0, 0, 0, 0, 3, 0, 1]]).written, 0)
  assert.equal(rig.send(CONTROL_TRANSMITQ, [], [64]).written, 0)
  assert.equal(inspect(device).controlIgnored, 7)

  driver.say(1, ControlEvent.PORT_READY, 0)
  assert.equal(inspect(device).driverFailures, 2)
  driver.listen()
  assert.deepEqual(driver.received, [])
  assert.deepEqual(opened, [])
})

test('a message in several buffers, or with extra bytes, is valid', () => {
  const opened: [string, boolean][] = []
  const { rig } = new ConsoleDriver(new ConsoleDevice(threePorts(opened)))
  rig.send(CONTROL_TRANSMITQ, [[1], [0, 0, 0, 6], [], [0, 1], [0]])
  rig.send(CONTROL_TRANSMITQ, [[2, 0, 0, 0, 6, 0, 1, 0, 99, 99, 99]])
  assert.deepEqual(opened, [
    ['commands', true],
    ['files', true],
  ])
})

test('a message that does not fit into its buffer is dropped and counted', () => {
  const device = new ConsoleDevice(threePorts())
  const driver = new ConsoleDriver(device)
  const { rig } = driver
  driver.say(0, ControlEvent.DEVICE_READY, 1)
  assert.equal(rig.send(CONTROL_RECEIVEQ, [], [7]).written, 0)
  assert.equal(rig.send(CONTROL_RECEIVEQ, [[1, 2, 3, 4, 5, 6, 7, 8]]).written, 0)
  assert.deepEqual([...rig.send(CONTROL_RECEIVEQ, [], [3, 1, 9]).bytes], [2, 0, 0, 0, 1, 0, 1, 0])
  driver.say(2, ControlEvent.PORT_READY, 1)
  assert.equal(rig.send(CONTROL_RECEIVEQ, [], [12]).written, 0, 'half a name is another name')
  assert.deepEqual([...rig.send(CONTROL_RECEIVEQ, [], [8]).bytes], [2, 0, 0, 0, 6, 0, 1, 0])
  assert.equal(inspect(device).controlLost, 3)
})

test('waiting messages are bounded with 31 ports and a driver that adds no buffers', () => {
  const host = { write: (bytes: Uint8Array) => bytes.length }
  const device = new ConsoleDevice(
    Array.from({ length: 31 }, (_, i) => ({ name: `port ${i}`, isConsole: true, host })),
    { columns: 80, rows: 25 },
  )
  const driver = new ConsoleDriver(device)
  for (let i = 0; i < 100; i++) {
    driver.say(0, ControlEvent.DEVICE_READY, 1)
    for (let port = 0; port < 31; port++) driver.say(port, ControlEvent.PORT_READY, 1)
  }
  assert.equal(inspect(device).controlWaiting, 31 * 4 + 1)
  driver.start()
  assert.equal(inspect(device).controlWaiting, 0)
  assert.equal(driver.received.filter(([, event]) => event === 'DEVICE_ADD').length, 31)
})

test('a device has 1 to 31 ports', () => {
  const [port] = threePorts()
  assert.throws(() => new ConsoleDevice([]), RangeError)
  assert.throws(() => new ConsoleDevice(new Array(32).fill(port)), RangeError)
})
