import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { Status } from '../../virtio/status.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { EchoMachine } from './testing/echo-machine.ts'

const RING_FORMATS = {
  split: 0n,
  'split with event indices': featureSet(Feature.EVENT_IDX, Feature.INDIRECT_DESC),
  'split, in order': featureSet(Feature.IN_ORDER),
  packed: featureSet(Feature.RING_PACKED),
  'packed, in order': featureSet(Feature.RING_PACKED, Feature.IN_ORDER, Feature.EVENT_IDX),
}
const INTX_DISABLE = 0x400

for (const [name, features] of Object.entries(RING_FORMATS)) {
  test(`a driver initialises and uses the device, twice: ${name}  @virtio 3.1.1`, async () => {
    const machine = new EchoMachine()
    for (let round = 0; round < 2; round++) {
      await machine.driver.start(features)
      assert.equal(machine.driver.get('device_status'), 15)
      for (let i = 0; i < 100; i++) {
        assert.deepEqual(machine.echo(0, [i, 2, 3]), [i, 2, 3])
        assert.deepEqual(machine.echo(1, [4, i]), [4, i])
      }
    }
    assert.deepEqual(machine.logged, [])
  })
}

test('the function is a modern virtio device without a legacy interface  @virtio 4.1.2.1', () => {
  const { pci, device } = new EchoMachine()
  assert.equal(pci.configRead(0, 2), 0x1af4)
  assert.equal(pci.configRead(2, 2), 0x1040 + device.id)
  assert.ok(pci.configRead(8, 1) >= 1)
  assert.ok(pci.configRead(0x2e, 2) >= 0x40)
  assert.equal(pci.configRead(0x0b, 1), 0xff)
})

test('a driver reads the offered features in all words  @virtio 2.2', async () => {
  const { driver, pci } = new EchoMachine()
  assert.equal(driver.offered() & featureSet(0, 1, 100, Feature.VERSION_1), featureSet(0, 1, 100, Feature.VERSION_1))
  assert.equal(await driver.negotiate(featureSet(Feature.VERSION_1, 100)), true)
  assert.deepEqual(pci.inspect().negotiated, ['VERSION_1', 'WIDE'])
  assert.equal(await driver.negotiate(featureSet(Feature.VERSION_1, 101)), false)
})

test('the offset of a notification selects the queue; its value and width are ignored  @virtio 4.1.4.4', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  const notified: number[] = []
  machine.device.notify = (queue) => notified.push(queue)
  const { bar, offset } = machine.driver.capability(2)
  for (const width of [1, 2, 4]) {
    machine.driver.writeBar(bar, offset, width, 0xffff_ffff)
    machine.driver.writeBar(bar, offset + 4, width, 0)
  }
  assert.deepEqual(notified, [0, 1, 0, 1, 0, 1])
  for (const between of [1, 2, 3, 5, 8, 12, 0x1000]) machine.driver.writeBar(bar, offset + between, 2, 0)
  assert.equal(notified.length, 6)
  assert.equal(machine.driver.readBar(bar, offset, 4), 0)
})

test('a notification before DRIVER_OK is ignored  @virtio 3.1.1', async () => {
  const machine = new EchoMachine()
  const { driver } = machine
  let notified = 0
  machine.device.onNotify = () => notified++
  await driver.negotiate(featureSet(Feature.VERSION_1))
  driver.setUpQueue(0)
  driver.notify(0)
  driver.notify(1)
  assert.equal(notified, 0)
  driver.set('device_status', 15)
  assert.equal(notified, 1)
})

test('with memory decoding off no BAR is decoded, and its contents are kept  @pci 6.2.2', async () => {
  const { pci, driver } = new EchoMachine()
  await driver.start()
  pci.configWrite(4, 2, 4)
  assert.deepEqual(
    pci.bars.map((bar) => bar?.decoded ?? false),
    [false, false, false, false, false, false],
  )
  pci.configWrite(4, 2, 6)
  assert.equal(pci.bars[0]?.decoded, true)
  assert.equal(driver.get('device_status'), 15)
})

test('a bus that decodes by itself need not assign BAR addresses', async () => {
  const { pci, driver } = new EchoMachine()
  pci.configWrite(0x10, 4, 0)
  assert.equal(pci.bars[0]?.decoded, false)
  await driver.start()
  assert.equal(driver.get('device_status'), 15)
})

test('a device without MSI-X and shared memory has one BAR, of its registers', () => {
  const { pci } = new EchoMachine()
  assert.deepEqual(
    pci.bars.map((bar) => bar?.size),
    [0x4000, undefined, undefined, undefined, undefined, undefined],
  )
})

test('barsChanged is called exactly when a BAR moves or decoding changes', () => {
  const machine = new EchoMachine()
  const before = machine.moves
  machine.pci.configWrite(0x10, 4, 0xd000_0000)
  assert.equal(machine.moves, before + 1)
  machine.pci.configWrite(0x10, 4, 0xd000_0000)
  machine.pci.configWrite(4, 2, 6 | INTX_DISABLE)
  machine.pci.configWrite(0x3c, 1, 11)
  assert.equal(machine.moves, before + 1)
  machine.pci.configWrite(4, 2, 0)
  assert.equal(machine.moves, before + 2)
  assert.equal(machine.pci.bars[0]?.decoded, false)
})

test('without bus mastering requests wait until it is on  @pci 6.2.2', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  machine.pci.configWrite(4, 2, 2)
  assert.equal(machine.echo(0, [1, 2]), undefined)
  machine.pci.configWrite(4, 2, 6)
  assert.equal(machine.driver.queues[0].collect(), true)
  assert.equal(machine.asserted, true)
})

test('a bus reset restores the initial state of the function', async () => {
  const machine = new EchoMachine({ messages: true, barAddresses: { 0: 0xfe00_0000, 1: 0xfe01_0000 } })
  const { pci, driver } = machine
  const bytes = () => Array.from({ length: 64 }, (_, i) => pci.configRead(4 * i, 4))
  pci.reset()
  const before = bytes()
  for (let round = 0; round < 2; round++) {
    driver.enable()
    await driver.start()
    assert.deepEqual(machine.echo(0, [round]), [round])
    assert.equal(pci.reset(), undefined)
    assert.deepEqual(bytes(), before)
    assert.deepEqual([machine.asserted, pci.bars[0]?.decoded, pci.bars[0]?.address], [false, false, 0xfe00_0000])
    assert.deepEqual(pci.inspect().status, [])
  }
})

test('a bus reset deasserts the pin at once and waits for requests in flight', async () => {
  const machine = new EchoMachine({ device: new EchoDevice({ slow: true }) })
  const { pci, driver, device } = machine
  await driver.start()
  machine.send(0, [1])
  device.config.update((view) => view.setUint32(0, 1, true))
  assert.equal(machine.asserted, true)
  const reset = pci.reset()
  assert.ok(reset)
  assert.equal(machine.asserted, false)
  assert.equal(device.resets, 1, 'the reset of the initialisation')
  device.answer()
  assert.deepEqual([machine.asserted, device.resets, pci.inspect().status], [false, 2, []])
})

test('a bus reset does not assert a disabled pin', async () => {
  const machine = new EchoMachine({ device: new EchoDevice({ slow: true }) })
  await machine.driver.start()
  machine.send(0, [1])
  machine.pci.configWrite(4, 2, 6 | INTX_DISABLE)
  machine.device.config.update((view) => view.setUint32(0, 1, true))
  machine.pci.reset()
  machine.device.answer()
  assert.equal(machine.asserted, false)
})

test('a bus reset during a device reset has no further effect', async () => {
  const machine = new EchoMachine({ device: new EchoDevice({ slow: true }) })
  await machine.driver.start()
  machine.send(0, [1])
  machine.driver.set('device_status', 0)
  machine.pci.reset()
  machine.device.answer()
  assert.equal(machine.device.resets, 2)
  machine.driver.enable()
  await machine.driver.start()
  machine.send(0, [2])
  machine.device.answer()
  assert.equal(machine.driver.queues[0].collect(), true)
})

test('a second driver that does not reset finds the device in use, and a reset recovers it  @virtio 3.1.1', async () => {
  const machine = new EchoMachine()
  const { driver } = machine
  await driver.start(featureSet(Feature.RING_PACKED))
  driver.set('device_status', Status.ACKNOWLEDGE)
  driver.set('driver_feature_select', 1)
  driver.set('driver_feature', 1)
  driver.set('device_status', Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK)
  driver.set('queue_select', 0)
  driver.set('queue_desc_lo', 0)
  driver.set('queue_enable', 1)
  driver.set('device_status', 15)
  assert.deepEqual(machine.echo(0, [1]), [1], 'the first driver’s queue')
  assert.equal(machine.device.starts, 1)
  await driver.start()
  assert.deepEqual(machine.echo(0, [2]), [2])
})

test('a failure of the device sets the status and interrupts, and a reset recovers it  @virtio 2.1.2', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  machine.device.session?.needsReset('broken')
  assert.equal(machine.driver.get('device_status'), 15 | Status.DEVICE_NEEDS_RESET)
  assert.equal(machine.asserted, true)
  assert.equal(machine.driver.isr(), 2)
  assert.equal(machine.echo(0, [1]), undefined)
  await machine.driver.start()
  assert.deepEqual(machine.echo(0, [1]), [1])
})
