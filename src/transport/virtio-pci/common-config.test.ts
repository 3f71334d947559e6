import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { Status } from '../../virtio/status.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { EchoMachine } from './testing/echo-machine.ts'
import { CommonField } from './testing/virtio-pci-driver.ts'

const VERSION_1 = featureSet(Feature.VERSION_1)
const NO_VECTOR = 0xffff

/** Writable fields, each with a distinct value. */
async function configured(): Promise<EchoMachine> {
  const machine = new EchoMachine({ messages: true })
  const { driver } = machine
  await driver.negotiate(VERSION_1 | featureSet(Feature.RING_RESET))
  driver.set('device_feature_select', 1)
  driver.set('driver_feature_select', 1)
  driver.set('config_msix_vector', 2)
  machine.device.config.update((view) => view.setUint8(0, 1))
  driver.readConfig(0, 1)
  driver.set('queue_select', 1)
  driver.set('queue_size', 8)
  driver.set('queue_msix_vector', 1)
  driver.set('queue_desc_lo', 0x0012_3450)
  driver.set('queue_desc_hi', 0x0102_0304)
  driver.set('queue_driver_lo', 0x0067_8900)
  driver.set('queue_driver_hi', 0x0506_0708)
  driver.set('queue_device_lo', 0x00ab_cde0)
  driver.set('queue_device_hi', 0x090a_0b0c)
  return machine
}

test('every field has the offset and value of the specification  @virtio 4.1.4.3', async () => {
  const { driver } = await configured()
  const expected: Partial<Record<CommonField, number>> = {
    device_feature_select: 1,
    device_feature: Number(
      featureSet(Feature.VERSION_1, Feature.RING_PACKED, Feature.IN_ORDER, Feature.RING_RESET) >> 32n,
    ),
    driver_feature_select: 1,
    driver_feature: 0x101,
    config_msix_vector: 2,
    num_queues: 2,
    device_status: 11,
    config_generation: 1,
    queue_select: 1,
    queue_size: 8,
    queue_msix_vector: 1,
    queue_enable: 0,
    queue_notify_off: 1,
    queue_desc_lo: 0x0012_3450,
    queue_desc_hi: 0x0102_0304,
    queue_driver_lo: 0x0067_8900,
    queue_driver_hi: 0x0506_0708,
    queue_device_lo: 0x00ab_cde0,
    queue_device_hi: 0x090a_0b0c,
    queue_notif_config_data: 1,
    queue_reset: 0,
    admin_queue_index: 0,
    admin_queue_num: 0,
  }
  for (const field of Object.keys(CommonField) as CommonField[]) {
    assert.equal(driver.get(field), expected[field], field)
  }
})

test('reads of any width and alignment return the bytes of the fields  @virtio 4.1.3.1', async () => {
  const { driver } = await configured()
  const bytes = Array.from({ length: 64 }, (_, at) => driver.readBar(0, at, 1))
  const joined = (at: number, width: number) =>
    Array.from({ length: width }, (_, i) => (bytes[at + i] ?? 0) * 2 ** (8 * i)).reduce((sum, byte) => sum + byte)
  for (let at = 0; at < 64; at++) {
    for (const width of [2, 4]) assert.equal(driver.readBar(0, at, width), joined(at, width), `${width} bytes at ${at}`)
  }
  for (const at of [64, 100, 0xffc]) assert.equal(driver.readBar(0, at, 4), 0)
})

test('the halves of 64-bit fields can be written separately in any order  @virtio 4.1.3.2', async () => {
  const { driver } = new EchoMachine()
  await driver.negotiate(VERSION_1)
  for (const area of ['queue_desc', 'queue_driver', 'queue_device'] as const) {
    driver.set(`${area}_hi`, 0xffff_ffff)
    driver.set(`${area}_lo`, 0x8000_0000)
    assert.deepEqual([driver.get(`${area}_lo`), driver.get(`${area}_hi`)], [0x8000_0000, 0xffff_ffff])
    driver.set(`${area}_hi`, 0)
    assert.deepEqual([driver.get(`${area}_lo`), driver.get(`${area}_hi`)], [0x8000_0000, 0])
  }
})

test('writes to read-only fields are ignored  @virtio 4.1.4.3', async () => {
  const { driver } = await configured()
  for (const field of [
    'device_feature',
    'num_queues',
    'config_generation',
    'queue_notify_off',
    'queue_notif_config_data',
    'admin_queue_index',
    'admin_queue_num',
  ] as const) {
    const before = driver.get(field)
    for (const value of [0, 1, 0xffff_ffff]) {
      driver.set(field, value)
      assert.equal(driver.get(field), before, field)
    }
  }
})

test('features past the last word read as 0 and are not accepted  @virtio 4.1.4.3.1', async () => {
  const { driver } = new EchoMachine()
  await driver.negotiate(0n)
  for (const word of [4, 5, 0x8000_0000, 0xffff_ffff]) {
    driver.set('device_feature_select', word)
    assert.equal(driver.get('device_feature'), 0)
    driver.set('driver_feature_select', word)
    driver.set('driver_feature', 0xffff_ffff)
    assert.equal(driver.get('driver_feature'), 0)
  }
})

test('a queue that does not exist has size 0 and no vector, and writes to it are ignored  @virtio 4.1.4.3.1', async () => {
  const { driver } = await configured()
  const fields = [
    'queue_size',
    'queue_msix_vector',
    'queue_enable',
    'queue_notify_off',
    'queue_desc_lo',
    'queue_driver_hi',
    'queue_reset',
  ] as const
  for (const queue of [2, 3, 0xffff]) {
    driver.set('queue_select', queue)
    assert.equal(driver.get('queue_select'), queue)
    for (const field of fields) {
      driver.set(field, 1)
      assert.equal(driver.get(field), field === 'queue_msix_vector' ? NO_VECTOR : 0, `${field} of queue ${queue}`)
    }
  }
  driver.set('queue_select', 1)
  assert.equal(driver.get('queue_size'), 8)
})

test('writing 0 to queue_enable disables nothing  @virtio 4.1.4.3.2', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  machine.driver.set('queue_select', 0)
  machine.driver.set('queue_enable', 0)
  machine.driver.set('queue_enable', 2)
  assert.equal(machine.driver.get('queue_enable'), 1)
  assert.deepEqual(machine.echo(0, [1]), [1])
})

test('queue_size must be a power of two unless packed rings were negotiated  @virtio 4.1.4.3.1', async () => {
  const { driver } = new EchoMachine()
  await driver.reset()
  driver.set('driver_feature_select', 1)
  driver.set('driver_feature', Number((VERSION_1 | featureSet(Feature.RING_PACKED)) >> 32n))
  driver.set('queue_size', 5)
  assert.equal(driver.get('queue_size'), 64)
  driver.set('device_status', Status.FEATURES_OK)
  driver.set('queue_size', 5)
  assert.equal(driver.get('queue_size'), 5)
})

test('an enabled queue keeps its size and addresses', async () => {
  const machine = new EchoMachine()
  const { driver } = machine
  await driver.start()
  driver.set('queue_select', 0)
  const before = [driver.get('queue_size'), driver.get('queue_desc_lo')]
  driver.set('queue_size', 2)
  driver.set('queue_desc_lo', 0)
  assert.deepEqual([driver.get('queue_size'), driver.get('queue_desc_lo')], before)
  assert.deepEqual(machine.echo(0, [1]), [1])
})

test('a smaller queue size of the driver is served over many rounds  @virtio 4.1.5.1.3', async () => {
  const machine = new EchoMachine()
  const { driver } = machine
  await driver.negotiate(VERSION_1)
  driver.setUpQueue(0, 4)
  driver.set('device_status', 15)
  for (let i = 0; i < 20; i++) assert.deepEqual(machine.echo(0, [i]), [i])
})

test('queue_reset reads 1 during the reset, then it and queue_enable read 0  @virtio 4.1.4.3.1', async () => {
  const machine = new EchoMachine({ device: new EchoDevice({ slow: true }) })
  const { driver } = machine
  await driver.start(featureSet(Feature.RING_RESET))
  machine.send(0, [1])
  driver.set('queue_select', 0)
  driver.set('queue_reset', 1)
  assert.deepEqual([driver.get('queue_reset'), driver.get('queue_enable')], [1, 1])
  driver.set('queue_reset', 0)
  assert.equal(driver.get('queue_reset'), 1)
  machine.device.answer()
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual([driver.get('queue_reset'), driver.get('queue_enable')], [0, 0])
  driver.setUpQueue(0, 16)
  assert.deepEqual([driver.get('queue_reset'), driver.get('queue_enable'), driver.get('queue_size')], [0, 1, 16])
  machine.send(0, [2])
  machine.device.answer()
  assert.equal(driver.queues[0].collect(), true)
})

test('after a reset every field has its initial value  @virtio 2.4.1', async () => {
  const machine = await configured()
  const fresh = new EchoMachine({ messages: true })
  machine.driver.set('device_status', 0)
  for (const field of Object.keys(CommonField) as CommonField[]) {
    if (field !== 'config_generation') assert.equal(machine.driver.get(field), fresh.driver.get(field), field)
  }
})

test('config_generation changes if the configuration changed between two reads  @virtio 4.1.4.3.1', async () => {
  const { driver, device } = new EchoMachine()
  await driver.start()
  driver.readConfig(0, 4)
  const before = driver.get('config_generation')
  device.config.update((view) => view.setUint32(4, 1, true))
  assert.equal(driver.readConfig(4, 4), 1)
  assert.notEqual(driver.get('config_generation'), before)
})

test('device configuration is read and written with the width of its fields  @virtio 4.1.3.1', async () => {
  const { driver, device } = new EchoMachine()
  await driver.start()
  driver.writeConfig(0, 4, 0x4433_2211)
  driver.writeConfig(4, 2, 0x6655)
  driver.writeConfig(6, 1, 0x77)
  assert.deepEqual(
    Array.from({ length: 8 }, (_, at) => device.config.view.getUint8(at)),
    [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0],
  )
  assert.deepEqual(
    [driver.readConfig(1, 1), driver.readConfig(2, 2), driver.readConfig(4, 4)],
    [0x22, 0x4433, 0x0077_6655],
  )
  driver.writeConfig(12, 4, 1)
  assert.equal(driver.readConfig(12, 4), 0, 'past the end')
})
