import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from './feature.ts'
import { StateRig } from './testing/state-rig.ts'

for (const [kind, features] of [
  ['split', 0n],
  ['split, event indices', featureSet(Feature.EVENT_IDX)],
  ['packed', featureSet(Feature.RING_PACKED)],
] as const) {
  test(`a polled device needs no notifications until polling stops: ${kind}`, () => {
    const rig = new StateRig()
    rig.start(features)
    let notifications = 0
    const { state } = rig
    const notify = state.notify.bind(state)
    state.notify = (index) => {
      notifications++
      notify(index)
    }
    state.poll()
    rig.echo(0, [1])
    const before = notifications
    for (let i = 0; i < 10; i++) {
      rig.send(0, [i])
      assert.equal(state.poll(), true)
      assert.equal(rig.queues[0].collect(), true)
      rig.queues[0].enableInterrupts()
      assert.equal(state.poll(), false)
    }
    assert.equal(notifications, before)
    rig.send(0, [1])
    state.stopPolling()
    assert.equal(rig.queues[0].collect(), true, 'chains added before notifications were enabled are served')
    rig.queues[0].enableInterrupts()
    assert.deepEqual(rig.echo(0, [7]), [7])
    assert.equal(notifications, before + 1)
  })
}

test('polling serves nothing while the device is held, in reset or without a driver', () => {
  const rig = new StateRig()
  assert.equal(rig.state.poll(), false)
  rig.start()
  rig.state.hold(true)
  rig.send(0, [1])
  assert.equal(rig.state.poll(), false)
  rig.state.hold(false)
  assert.equal(rig.state.poll(), false, 'its release served the available chains')
  rig.send(0, [2])
  // That call disabled notifications.
  rig.send(0, [3])
  assert.equal(rig.state.poll(), true)
  void rig.state.reset()
  assert.equal(rig.state.poll(), false)
  rig.state.stopPolling()
})
