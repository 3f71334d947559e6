import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from './feature.ts'
import { Status } from './status.ts'
import { EchoDevice } from './testing/echo-device.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

test('a reset with nothing in flight completes at once, and the device can be used again  @virtio 2.4.1', () => {
  const rig = new StateRig()
  for (let round = 1; round <= 3; round++) {
    rig.start()
    assert.deepEqual(rig.echo(0, [round]), [round])
    assert.equal(rig.state.reset(), undefined)
    assert.equal(rig.state.status, 0)
    assert.equal(rig.device.resets, round)
  }
})

test('a reset restores the initial state of every queue  @virtio 4.1.4.3.1', () => {
  const rig = new StateRig()
  rig.negotiate(VERSION_1)
  rig.state.configurableQueue(0)?.setSize(8, false)
  rig.setUpQueue(0)
  rig.setStatus(Status.DRIVER_OK)
  rig.state.writeStatus(0)
  const [queue] = rig.state.queues
  assert.equal(queue.enabled, false)
  assert.equal(queue.resetting, false)
  assert.equal(queue.size, 64)
  assert.equal(queue.live, undefined)
  assert.deepEqual([...queue.addressWords], [0, 0, 0, 0, 0, 0])
})

test('a reset at each step of the initialisation returns to the initial state  @virtio 2.4.1', () => {
  for (const bits of [0, Status.ACKNOWLEDGE, 3, 11, 15]) {
    const rig = new StateRig()
    rig.accept(VERSION_1)
    rig.setStatus(bits)
    rig.state.writeStatus(0)
    assert.equal(rig.state.status, 0)
    rig.start()
    assert.deepEqual(rig.echo(1, [bits]), [bits])
  }
})

test('the status is 0 only after all requests in flight are finished  @virtio 2.4.1', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(0, [1, 2])
  const reset = rig.state.reset()
  assert.ok(reset)
  assert.equal(rig.state.status, 15)
  assert.equal(rig.state.resetting, true)
  rig.device.answer()
  assert.equal(rig.state.status, 0)
  assert.equal(rig.device.resets, 1)
})

test('requests in flight at a reset are finished, and no new ones are started  @virtio 2.4.1', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  const answer = rig.send(0, [1, 2])
  rig.state.reset()
  rig.send(0, [3, 4])
  rig.state.notify(0)
  assert.equal(rig.device.kept.length, 1)
  rig.device.answer()
  assert.deepEqual([...rig.region.u8.slice(answer, answer + 2)], [1, 2])
  assert.equal(rig.queues[0].collect(), true)
  assert.equal(rig.queues[0].collect(), false)
})

test('a reset during a reset has no further effect', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(0, [1])
  const first = rig.state.reset()
  rig.state.writeStatus(0)
  assert.equal(rig.state.reset(), first)
  rig.device.answer()
  assert.equal(rig.device.resets, 1)
  rig.start()
  assert.equal(rig.device.starts, 2)
})

test('writes of the driver during a reset are ignored  @virtio 4.1.4.3.2', () => {
  const rig = new StateRig(new EchoDevice({ slow: true, queueSizes: [64, 16] }))
  rig.negotiate(VERSION_1 | featureSet(Feature.RING_RESET))
  rig.setUpQueue(0)
  rig.setStatus(Status.DRIVER_OK)
  rig.send(0, [1])
  rig.state.reset()
  rig.state.writeStatus(15 | Status.FAILED)
  rig.state.acceptFeatures(0, 0xffff_ffff)
  rig.state.writeConfig(0, 4, 99)
  rig.state.enableQueue(1)
  rig.state.resetQueue(0)
  assert.equal(rig.state.configurableQueue(1), undefined)
  assert.equal(rig.state.status, 15)
  assert.equal(rig.state.readConfig(0, 4), 0)
  assert.equal(rig.state.queues[1].enabled, false)
  assert.equal(rig.state.queues[0].resetting, false)
  rig.device.config.update((view) => view.setUint32(4, 1, true))
  assert.deepEqual(rig.notifications, [])
  rig.device.answer()
  assert.equal(rig.state.acceptedFeatures(0), 0)
})

test('a completion after the reset reaches no queue and no driver  @virtio 2.4.1', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.device.stopQueue = () => undefined
  rig.start()
  const answer = rig.send(0, [5])
  const session = rig.device.session
  rig.state.writeStatus(0)
  rig.notifications.length = 0
  const before = rig.region.u8.slice()
  for (const { queue, chain } of rig.device.kept.splice(0)) {
    session?.queues[queue]?.push(chain, 1)
    session?.queues[queue]?.publish()
  }
  assert.deepEqual(rig.notifications, [])
  assert.deepEqual(rig.region.u8, before)
  assert.equal(rig.region.u8[answer], 0)
})

test('the session of a previous driver cannot fail the device of the next one', () => {
  const rig = new StateRig()
  rig.start()
  const ended = rig.device.session
  rig.state.writeStatus(0)
  rig.start()
  ended?.needsReset('too late')
  assert.equal(rig.state.status, 15)
  assert.deepEqual(rig.logged, [])
})

test('a device that is reset within its own activation is in its initial state', () => {
  const rig = new StateRig()
  const start = rig.device.start.bind(rig.device)
  rig.device.start = (session) => {
    start(session)
    rig.state.writeStatus(0)
  }
  rig.start()
  assert.equal(rig.state.status, 0)
  rig.device.start = start
  rig.start()
  assert.deepEqual(rig.echo(0, [1]), [1])
})

test('a reset within the interrupt of a broken queue leaves no queue behind', () => {
  const rig = new StateRig()
  rig.onConfigInterrupt = () => rig.state.writeStatus(0)
  rig.negotiate(VERSION_1)
  rig.state.configurableQueue(0)?.addressWords.set([0x1000, 0, 0x2000, 0, 0xffff_f000, 0])
  rig.state.enableQueue(0)
  rig.setUpQueue(1)
  rig.setStatus(Status.DRIVER_OK)
  assert.equal(rig.state.status, 0)
  assert.equal(rig.device.starts, 0)
  assert.deepEqual(
    rig.state.queues.map(({ enabled, live }) => [enabled, live]),
    [
      [false, undefined],
      [false, undefined],
    ],
  )
  rig.start()
  assert.deepEqual(rig.echo(1, [1]), [1])
})
