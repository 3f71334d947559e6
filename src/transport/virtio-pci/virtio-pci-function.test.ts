import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoMachine } from './testing/echo-machine.ts'

const RING_FORMATS = {
  split: 0n,
  'split with event indices': featureSet(Feature.EVENT_IDX, Feature.INDIRECT_DESC),
  packed: featureSet(Feature.RING_PACKED),
  'packed, in order': featureSet(Feature.RING_PACKED, Feature.IN_ORDER, Feature.EVENT_IDX),
}

for (const [name, features] of Object.entries(RING_FORMATS)) {
  test(`a driver initialises the device and is served: ${name}  @virtio 3.1.1`, async () => {
    const machine = new EchoMachine()
    await machine.driver.start(features)
    assert.equal(machine.driver.get('device_status'), 15)
    for (let i = 0; i < 100; i++) {
      assert.deepEqual(machine.echo(0, [i, 2, 3]), [i, 2, 3])
      assert.deepEqual(machine.echo(1, [4, i]), [4, i])
    }
    assert.deepEqual(machine.logged, [])
  })
}

test('the ISR status tells a used buffer once, and reading it lowers the pin  @virtio 4.1.4.5', async () => {
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
