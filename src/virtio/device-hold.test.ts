import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Status } from './status.ts'
import { EchoDevice } from './testing/echo-device.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

test('while the device is held requests wait and none is lost', () => {
  const rig = new StateRig()
  rig.start()
  rig.state.hold(true)
  assert.equal(rig.echo(0, [1]), undefined)
  assert.equal(rig.echo(1, [2]), undefined)
  rig.state.hold(false)
  assert.equal(rig.queues[0].collect(), true)
  assert.equal(rig.queues[1].collect(), true)
  assert.deepEqual(rig.echo(0, [3]), [3])
})

test('a device that is held at DRIVER_OK is active, but gets its first request at the release', () => {
  const rig = new StateRig()
  rig.state.hold(true)
  rig.negotiate(VERSION_1)
  rig.setUpQueue(0)
  rig.send(0, [1])
  rig.setStatus(Status.DRIVER_OK)
  assert.equal(rig.device.starts, 1)
  assert.equal(rig.queues[0].collect(), false)
  rig.state.hold(false)
  assert.equal(rig.queues[0].collect(), true)
})

test('requests in flight are finished while the device is held', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(0, [1])
  rig.state.hold(true)
  rig.device.answer()
  assert.equal(rig.queues[0].collect(), true)
})

test('a held device can be reset, and a release during the reset starts no request', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(0, [1])
  rig.state.hold(true)
  rig.send(0, [2])
  rig.state.reset()
  rig.state.hold(false)
  assert.equal(rig.device.kept.length, 1)
  rig.device.answer()
  assert.equal(rig.state.status, 0)
})

test('publish makes pushed chains visible before a thread sleeps', () => {
  const rig = new StateRig()
  rig.start()
  const device = rig.device
  device.notify = (index) => {
    const queue = device.session?.queues[index]
    for (let chain = queue?.pop(); chain; chain = queue?.pop()) queue?.push(chain, 0)
  }
  rig.send(0, [1])
  assert.equal(rig.queues[0].collect(), false)
  rig.state.publish()
  assert.equal(rig.queues[0].collect(), true)
})
