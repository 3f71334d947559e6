import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from './feature.ts'
import { Status, statusNames } from './status.ts'
import { EchoFeature } from './testing/echo-device.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

test('the status starts at 0 and accumulates the bits that the driver sets  @virtio 2.1', () => {
  const rig = new StateRig()
  assert.equal(rig.state.status, 0)
  assert.equal(rig.setStatus(Status.ACKNOWLEDGE), 1)
  assert.equal(rig.setStatus(Status.DRIVER), 3)
  rig.accept(VERSION_1)
  assert.equal(rig.setStatus(Status.FEATURES_OK), 11)
  assert.equal(rig.setStatus(Status.DRIVER_OK), 15)
  assert.equal(rig.device.starts, 1)
})

test('a write without a set bit does not clear it  @virtio 2.1.1', () => {
  const rig = new StateRig()
  rig.start()
  rig.state.writeStatus(Status.ACKNOWLEDGE)
  assert.equal(rig.state.status, 15)
  assert.deepEqual(rig.echo(0, [1]), [1])
})

test('bits that the driver must not set are ignored  @virtio 2.1', () => {
  const rig = new StateRig()
  rig.state.writeStatus(Status.DEVICE_NEEDS_RESET | 16 | 32)
  assert.equal(rig.state.status, 0)
})

for (const [what, features, reason] of [
  ['a bit that was not offered', VERSION_1 | featureSet(5), /not offered: bit 5$/],
  ['a transport bit that was not offered', VERSION_1 | featureSet(Feature.SR_IOV), /not offered: SR_IOV$/],
  ['a bit from the last word', VERSION_1 | featureSet(127), /not offered: bit 127$/],
  ['no VERSION_1', featureSet(EchoFeature.LOUD), /VERSION_1 not accepted/],
  ['no features', 0n, /VERSION_1 not accepted/],
  ['a bit without the one that it requires', VERSION_1 | featureSet(EchoFeature.DOUBLE), /DOUBLE without LOUD$/],
] as const) {
  test(`FEATURES_OK stays clear for a driver that accepts ${what}  @virtio 2.2.2`, () => {
    const rig = new StateRig()
    assert.equal(rig.negotiate(features), false)
    assert.equal(rig.state.status, Status.ACKNOWLEDGE | Status.DRIVER)
    assert.equal(rig.logged.length, 1)
    assert.match(rig.logged[0], reason)
    assert.equal(rig.setStatus(Status.DRIVER_OK) & Status.DRIVER_OK, 0)
    assert.equal(rig.device.starts, 0)
  })
}

test('a refused driver can accept fewer features and try again  @virtio 2.2.2', () => {
  const rig = new StateRig()
  assert.equal(rig.negotiate(VERSION_1 | featureSet(5)), false)
  assert.equal(rig.negotiate(VERSION_1), true)
})

test('DRIVER_OK stays clear before FEATURES_OK  @virtio 3.1.1', () => {
  const rig = new StateRig()
  rig.accept(VERSION_1)
  assert.equal(rig.setStatus(Status.ACKNOWLEDGE | Status.DRIVER | Status.DRIVER_OK), 3)
  assert.equal(rig.device.starts, 0)
})

test('FEATURES_OK and DRIVER_OK in one write are applied in that order', () => {
  const rig = new StateRig()
  rig.accept(VERSION_1)
  assert.equal(rig.setStatus(15), 15)
  assert.equal(rig.device.starts, 1)
})

test('a second DRIVER_OK does not activate the device again', () => {
  const rig = new StateRig()
  rig.start()
  rig.state.writeStatus(15)
  assert.equal(rig.device.starts, 1)
})

test('after FAILED the device is not activated before a reset  @virtio 2.1.1', () => {
  const rig = new StateRig()
  rig.negotiate(VERSION_1)
  assert.equal(rig.setStatus(Status.FAILED | Status.DRIVER_OK), 11 | Status.FAILED)
  assert.equal(rig.setStatus(Status.DRIVER_OK), 11 | Status.FAILED)
  assert.equal(rig.device.starts, 0)
  rig.state.writeStatus(0)
  rig.start()
  assert.deepEqual(rig.echo(0, [7]), [7])
})

test('status bits have names', () => {
  assert.deepEqual(statusNames(15 | 64), ['ACKNOWLEDGE', 'DRIVER', 'DRIVER_OK', 'FEATURES_OK', 'DEVICE_NEEDS_RESET'])
  assert.deepEqual(statusNames(0), [])
})
