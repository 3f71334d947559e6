import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { EchoMachine } from './testing/echo-machine.ts'

const VERSION_1 = featureSet(Feature.VERSION_1)
const NO_VECTOR = 0xffff
const MSIX_BAR = 1
const MSIX_CAPABILITY = 0x11
const ENABLE = 0x8000
const INTX_DISABLE = 0x400

function msixControl(machine: EchoMachine, bits: number): void {
  const at = machine.driver.capabilities.find(({ id }) => id === MSIX_CAPABILITY)?.at
  assert.ok(at)
  machine.pci.configWrite(at + 2, 2, bits)
}

/** Machine with MSI-X on. Vector v sends data v to 0x1000; configuration, queue 0 and queue 1 are mapped. */
async function withMessages(vectors: readonly [number, number, number]): Promise<EchoMachine> {
  const machine = new EchoMachine({ messages: true })
  const { driver } = machine
  for (let vector = 0; vector < 3; vector++) {
    driver.writeBar(MSIX_BAR, 16 * vector, 4, 0x1000)
    driver.writeBar(MSIX_BAR, 16 * vector + 8, 4, vector)
    driver.writeBar(MSIX_BAR, 16 * vector + 12, 4, 0)
  }
  msixControl(machine, ENABLE)
  await driver.negotiate(VERSION_1)
  driver.set('config_msix_vector', vectors[0])
  driver.setUpQueue(0, 0, vectors[1])
  driver.setUpQueue(1, 0, vectors[2])
  driver.set('device_status', 15)
  return machine
}

function change(machine: EchoMachine): void {
  machine.device.config.update((view) => view.setUint32(0, view.getUint32(0, true) + 1, true))
}

test('the ISR status shows a used buffer once, and reading it deasserts the pin  @virtio 4.1.4.5.1', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  machine.send(0, [1])
  assert.equal(machine.asserted, true)
  assert.equal(machine.pci.configRead(6, 2) & 8, 8)
  assert.equal(machine.driver.isr(), 1)
  assert.equal(machine.asserted, false)
  assert.equal(machine.pci.configRead(6, 2) & 8, 0)
  assert.equal(machine.driver.isr(), 0)
})

test('the ISR status has separate bits for queues and configuration  @virtio 4.1.4.5.1', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  change(machine)
  assert.equal(machine.driver.isr(), 2)
  machine.send(0, [1])
  change(machine)
  assert.equal(machine.edges, 3, 'asserted, deasserted, asserted')
  assert.equal(machine.driver.isr(), 3)
})

test('the ISR status can be read with any width and is read-only', async () => {
  for (const width of [1, 2, 4]) {
    const machine = new EchoMachine()
    await machine.driver.start()
    const { bar, offset } = machine.driver.capability(3)
    machine.send(0, [1])
    machine.driver.writeBar(bar, offset, width, 0)
    assert.equal(machine.driver.readBar(bar, offset, width), 1)
    assert.equal(machine.driver.readBar(bar, offset, width), 0)
  }
})

test('with the pin disabled the status register shows the interrupt, and enabling asserts the pin  @pci 6.2.2', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  machine.pci.configWrite(4, 2, 6 | INTX_DISABLE)
  machine.send(0, [1])
  assert.deepEqual([machine.asserted, machine.pci.configRead(6, 2) & 8], [false, 8])
  machine.pci.configWrite(4, 2, 6)
  assert.equal(machine.asserted, true)
  machine.pci.configWrite(4, 2, 6 | INTX_DISABLE)
  assert.equal(machine.asserted, false)
})

test('on a bus without messages there is no MSI-X, and no vector can be mapped  @virtio 4.1.5.1.2.1', async () => {
  const { driver } = new EchoMachine()
  assert.equal(
    driver.capabilities.some(({ id }) => id === MSIX_CAPABILITY),
    false,
  )
  await driver.negotiate(VERSION_1)
  driver.set('config_msix_vector', 0)
  assert.equal(driver.get('config_msix_vector'), NO_VECTOR)
})

test('an event can be mapped to every vector of the table and unmapped  @virtio 4.1.5.1.2.1', async () => {
  const { driver } = new EchoMachine({ messages: true })
  await driver.negotiate(VERSION_1)
  for (const field of ['config_msix_vector', 'queue_msix_vector'] as const) {
    assert.equal(driver.get(field), NO_VECTOR)
    for (const vector of [0, 1, 2, NO_VECTOR]) {
      driver.set(field, vector)
      assert.equal(driver.get(field), vector)
    }
  }
})

test('mapping to a vector outside the table fails and reads back as NO_VECTOR  @virtio 4.1.5.1.2.1', async () => {
  const { driver } = new EchoMachine({ messages: true })
  await driver.negotiate(VERSION_1)
  for (const field of ['config_msix_vector', 'queue_msix_vector'] as const) {
    for (const vector of [3, 0x7ff, 0x800, 0xfffe]) {
      driver.set(field, 1)
      driver.set(field, vector)
      assert.equal(driver.get(field), NO_VECTOR)
    }
  }
})

test('with MSI-X each event sends the message of its vector and does not assert the pin  @virtio 4.1.5.3, 4.1.5.4', async () => {
  const machine = await withMessages([0, 1, 2])
  machine.send(1, [1])
  machine.send(0, [1])
  change(machine)
  assert.deepEqual(
    machine.messages.map(([, data]) => data),
    [2, 1, 0],
  )
  assert.deepEqual([machine.asserted, machine.edges], [false, 0])
})

test('events can share a vector  @virtio 4.1.5.1.2.1', async () => {
  const machine = await withMessages([2, 2, 2])
  machine.send(0, [1])
  machine.send(1, [1])
  change(machine)
  assert.deepEqual(
    machine.messages.map(([, data]) => data),
    [2, 2, 2],
  )
})

test('an unmapped event causes no interrupt  @virtio 4.1.5.3.1, 4.1.5.4.1', async () => {
  const machine = await withMessages([NO_VECTOR, NO_VECTOR, 1])
  machine.send(0, [1])
  change(machine)
  assert.deepEqual([machine.messages, machine.asserted], [[], false])
  machine.send(1, [1])
  assert.equal(machine.messages.length, 1)
})

test('with MSI-X a configuration change sets the ISR status and a used buffer does not  @virtio 4.1.4.5.1', async () => {
  const machine = await withMessages([0, 1, 2])
  machine.send(0, [1])
  assert.equal(machine.driver.isr(), 0)
  change(machine)
  assert.equal(machine.driver.isr(), 2)
})

test('enabling MSI-X deasserts the pin  @pci 6.8.2.3', async () => {
  const machine = new EchoMachine({ messages: true })
  await machine.driver.start()
  machine.send(0, [1])
  assert.equal(machine.asserted, true)
  msixControl(machine, ENABLE)
  assert.equal(machine.asserted, false)
  msixControl(machine, 0)
  assert.equal(machine.asserted, true)
})

test('a reset unmaps every event, clears pending bits and deasserts the pin  @virtio 4.1.5.1.2.1', async () => {
  const machine = await withMessages([0, 1, 2])
  const { driver } = machine
  driver.writeBar(MSIX_BAR, 16 + 12, 4, 1)
  machine.send(0, [1])
  change(machine)
  machine.messages.length = 0
  assert.equal(driver.readBar(MSIX_BAR, 48, 4), 2)
  driver.set('device_status', 0)
  assert.equal(driver.readBar(MSIX_BAR, 48, 4), 0)
  driver.writeBar(MSIX_BAR, 16 + 12, 4, 0)
  assert.deepEqual(machine.messages, [])
  assert.equal(driver.isr(), 0)
  assert.equal(driver.get('config_msix_vector'), NO_VECTOR)
  for (const queue of [0, 1]) {
    driver.set('queue_select', queue)
    assert.equal(driver.get('queue_msix_vector'), NO_VECTOR)
  }
})

test('a queue reset unmaps that queue  @virtio 2.6.1.1.1', async () => {
  const machine = new EchoMachine({ messages: true })
  const { driver } = machine
  await driver.negotiate(VERSION_1 | featureSet(Feature.RING_RESET))
  driver.setUpQueue(0, 0, 1)
  driver.setUpQueue(1, 0, 2)
  driver.set('device_status', 15)
  driver.set('queue_select', 0)
  driver.set('queue_reset', 1)
  assert.equal(driver.get('queue_msix_vector'), NO_VECTOR)
  driver.set('queue_select', 1)
  assert.equal(driver.get('queue_msix_vector'), 2)
})

test('during a reset events cannot be mapped  @virtio 4.1.4.3.2', async () => {
  const machine = new EchoMachine({ messages: true, device: new EchoDevice({ slow: true }) })
  const { driver } = machine
  await driver.start()
  machine.send(0, [1])
  driver.set('device_status', 0)
  driver.set('config_msix_vector', 1)
  driver.set('queue_msix_vector', 1)
  assert.deepEqual([driver.get('config_msix_vector'), driver.get('queue_msix_vector')], [NO_VECTOR, NO_VECTOR])
  machine.device.answer()
  await driver.reset()
})

test('without bus mastering messages stay pending  @pci 6.2.2', async () => {
  const machine = await withMessages([0, 1, 2])
  machine.pci.configWrite(4, 2, 2)
  change(machine)
  assert.deepEqual(machine.messages, [])
  machine.pci.configWrite(4, 2, 6)
  assert.deepEqual(machine.messages, [[0x1000, 0]])
})
