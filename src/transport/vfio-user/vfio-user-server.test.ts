import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { IrqIndex } from './protocol.ts'
import { echoRig } from './testing/echo-rig.ts'

const skip = ffiMissing() ?? false

for (const [name, features] of [
  ['split', 0n],
  ['packed', featureSet(Feature.RING_PACKED, Feature.EVENT_IDX)],
] as const) {
  test(`a driver in another process uses a device as in this one: ${name}`, { skip }, async () => {
    const rig = echoRig()
    await rig.start(features)
    for (let i = 0; i < 200; i++) assert.deepEqual(rig.echo(i % 2, [i, 2, 3]), [i, 2, 3])
    await rig.close()
    assert.equal(rig.over, true)
  })
}

test('a queue interrupts through its vector, and its vector only  @vfio-user DEVICE_SET_IRQS', { skip }, async () => {
  const rig = echoRig()
  const driver = rig.plug()
  const events = rig.listen(IrqIndex.MSIX, 3)
  driver.pci.configWrite(driver.capabilities.find(({ id }) => id === 0x11)?.at ?? 0, 4, 0x8000_0000)
  assert.equal(await driver.negotiate(featureSet(Feature.VERSION_1)), true)
  driver.setUpQueue(0, 0, 1)
  driver.setUpQueue(1, 0, 2)
  driver.set('device_status', 15)
  assert.deepEqual(rig.echo(1, [1]), [1])
  rig.reactor.turn()
  assert.deepEqual(
    events.map((event) => event.drain()),
    [0, 0, 1],
  )
  await rig.close()
})

test('a client that is gone leaves the device as before any driver', { skip }, async () => {
  const device = new EchoDevice()
  const before = openDescriptors()
  const rig = echoRig(device)
  await rig.start()
  assert.deepEqual(rig.echo(0, [1]), [1])
  await rig.hangUp()
  assert.equal(device.session, undefined)
  assert.equal(rig.over, true)
  await rig.close()
  assert.equal(openDescriptors(), before)
})
