import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Status } from './status.ts'
import { EchoDevice } from './testing/echo-device.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

const fail = () => {
  throw new Error('broken')
}

/** Asserts that the device works after a reset. */
function assertRecovers(rig: StateRig): void {
  rig.state.writeStatus(0)
  assert.equal(rig.state.status, 0)
  rig.start()
  assert.equal(rig.state.status, 15)
  assert.deepEqual(rig.echo(0, [1, 2]), [1, 2])
}

test('a failed device sets DEVICE_NEEDS_RESET and notifies once  @virtio 2.1.2', () => {
  const rig = new StateRig()
  rig.start()
  rig.device.session?.needsReset('out of paper')
  rig.device.session?.needsReset('out of ink')
  assert.equal(rig.state.status, 15 | Status.DEVICE_NEEDS_RESET)
  assert.deepEqual(rig.notifications, ['config'])
  assert.deepEqual(rig.logged, ['echo: needs a reset: out of paper'])
  assertRecovers(rig)
})

test('a device that needs a reset pops no chains  @virtio 2.1.2', () => {
  const rig = new StateRig()
  rig.start()
  rig.device.session?.needsReset('out of paper')
  assert.equal(rig.echo(0, [1]), undefined)
  rig.state.hold(true)
  rig.state.hold(false)
  assert.equal(rig.queues[0].collect(), false)
})

test('a ring that cannot be followed fails the device, and a reset recovers  @virtio 2.1.2', () => {
  const rig = new StateRig()
  rig.start()
  const { region, addresses } = rig.queues[0]
  region.u16[addresses.driverArea / 2 + 1] = 1000
  rig.state.notify(0)
  assert.equal(rig.state.status, 15 | Status.DEVICE_NEEDS_RESET)
  assert.match(rig.logged[0], /^echo: needs a reset: queue 0: available index 1000 /)
  assertRecovers(rig)
})

test('a device that throws in start needs a reset', () => {
  const rig = new StateRig()
  const { start } = rig.device
  rig.device.start = fail
  rig.start()
  assert.equal(rig.state.status, 15 | Status.DEVICE_NEEDS_RESET)
  assert.deepEqual(rig.notifications, ['config'])
  assert.deepEqual(rig.logged, ['echo: needs a reset: start failed: broken'])
  rig.device.start = start
  assertRecovers(rig)
})

test('a device that needs a reset in start gets none of the available chains', () => {
  const rig = new StateRig()
  let notified = 0
  rig.device.onNotify = () => notified++
  const start = rig.device.start.bind(rig.device)
  rig.device.start = (session) => {
    start(session)
    session.needsReset('no disk')
  }
  rig.start()
  assert.equal(rig.state.status, 15 | Status.DEVICE_NEEDS_RESET)
  assert.equal(notified, 0)
  rig.device.start = start
  assertRecovers(rig)
})

test('a device that throws in negotiated needs a reset', () => {
  const rig = new StateRig(Object.assign(new EchoDevice(), { negotiated: fail }))
  assert.equal(rig.negotiate(VERSION_1), true)
  assert.equal(rig.state.status, 11 | Status.DEVICE_NEEDS_RESET)
  rig.setStatus(Status.DRIVER_OK)
  assert.deepEqual(rig.notifications, ['config'])
  rig.state.writeStatus(0)
  assert.equal(rig.state.status, 0)
})

test('a device that throws in notify needs a reset', () => {
  const rig = new StateRig()
  rig.start()
  rig.device.onNotify = fail
  rig.send(0, [1])
  assert.equal(rig.state.status, 15 | Status.DEVICE_NEEDS_RESET)
  rig.device.onNotify = undefined
  assertRecovers(rig)
})

test('a device that throws in a configuration write needs a reset', () => {
  const rig = new StateRig()
  rig.start()
  rig.device.configWritten = fail
  rig.state.writeConfig(0, 4, 1)
  assert.equal(rig.state.status, 15 | Status.DEVICE_NEEDS_RESET)
  assert.deepEqual(rig.notifications, ['config'])
  rig.device.configWritten = undefined
  assertRecovers(rig)
})

test('a failure before DRIVER_OK notifies at DRIVER_OK  @virtio 2.1.2', () => {
  const rig = new StateRig()
  rig.device.configWritten = fail
  rig.negotiate(VERSION_1)
  rig.state.writeConfig(0, 4, 1)
  assert.equal(rig.state.status, 11 | Status.DEVICE_NEEDS_RESET)
  assert.deepEqual(rig.notifications, [])
  rig.setStatus(Status.DRIVER_OK)
  assert.deepEqual(rig.notifications, ['config'])
  rig.device.configWritten = undefined
  assertRecovers(rig)
})

test('a device that throws in stopQueue is reset nevertheless', () => {
  const rig = new StateRig()
  const { stopQueue } = rig.device
  rig.start()
  rig.device.stopQueue = fail
  rig.state.writeStatus(0)
  assert.equal(rig.state.status, 0)
  assert.equal(rig.device.resets, 1)
  rig.device.stopQueue = stopQueue
  assertRecovers(rig)
})

test('a device that throws in reset has status 0 nevertheless', () => {
  const rig = new StateRig()
  const { reset } = rig.device
  rig.start()
  rig.device.reset = fail
  rig.state.writeStatus(0)
  assert.equal(rig.state.status, 0)
  assert.equal(rig.notifications.at(-1), 'device reset')
  rig.device.reset = reset
  assertRecovers(rig)
})

test('a device that throws in inspect is inspected with its error', () => {
  const device = Object.assign(new EchoDevice(), { inspect: fail })
  assert.deepEqual(new StateRig(device).state.inspect().state, { error: 'Error: broken' })
})
