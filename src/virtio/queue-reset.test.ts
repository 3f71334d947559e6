import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pending } from '../pending/pending.ts'
import { Feature, featureSet } from './feature.ts'
import { EchoDevice } from './testing/echo-device.ts'
import { StateRig } from './testing/state-rig.ts'

const RING_RESET = featureSet(Feature.RING_RESET)

for (const [name, features] of [
  ['split', RING_RESET],
  ['packed', RING_RESET | featureSet(Feature.RING_PACKED)],
] as const) {
  test(`a single queue can be reset and enabled again, and starts at position 0: ${name}  @virtio 2.6.1.1.1`, () => {
    const rig = new StateRig()
    rig.start(features)
    for (let i = 0; i < 5; i++) assert.deepEqual(rig.echo(0, [i]), [i])
    const before = rig.device.session?.queues[0]
    rig.state.resetQueue(0)
    const [queue] = rig.state.queues
    assert.deepEqual([queue.resetting, queue.enabled, queue.size], [false, false, 64])
    assert.deepEqual([...queue.addressWords], [0, 0, 0, 0, 0, 0])
    assert.equal(rig.device.session?.queues[0], undefined)
    assert.deepEqual(rig.echo(1, [9]), [9], 'the other queue still works')
    queue.setSize(16, false)
    rig.setUpQueue(0)
    const after = rig.device.session?.queues.at(0)
    assert.notEqual(after, before)
    assert.equal(after?.size, 16)
    assert.deepEqual(queue.live?.position, { available: 0, used: 0, inFlight: 0 })
    for (let i = 0; i < 40; i++) assert.deepEqual(rig.echo(0, [i]), [i])
  })
}

test('a queue reset lasts while its chains are in flight, and pops no new ones  @virtio 4.1.4.3.1', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start(RING_RESET)
  rig.send(0, [1])
  rig.state.resetQueue(0)
  const [queue] = rig.state.queues
  assert.deepEqual([queue.resetting, queue.enabled], [true, true])
  rig.send(0, [2])
  rig.state.notify(0)
  assert.equal(rig.device.kept.length, 1)
  assert.equal(rig.state.configurableQueue(0), undefined)
  rig.state.enableQueue(0)
  rig.state.resetQueue(0)
  rig.device.answer()
  assert.deepEqual([queue.resetting, queue.enabled], [false, false])
  assert.deepEqual(
    rig.notifications.filter((line) => line === 'queue 0 reset'),
    ['queue 0 reset'],
  )
})

test('after a queue reset the queue causes no notification  @virtio 2.6.1.1.1', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.device.stopQueue = () => undefined
  rig.start(RING_RESET)
  rig.send(0, [1])
  const queue = rig.device.session?.queues[0]
  const [{ chain }] = rig.device.kept
  rig.state.resetQueue(0)
  rig.notifications.length = 0
  const before = rig.region.u8.slice()
  queue?.push(chain, 1)
  queue?.publish()
  assert.deepEqual(rig.notifications, [])
  assert.deepEqual(rig.region.u8, before)
})

test('a device reset can complete before a queue reset, whose late end affects no new queue', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  const late = new Pending()
  let stops = 0
  rig.device.stopQueue = () => (stops++ === 0 ? late : undefined)
  rig.start(RING_RESET)
  rig.state.resetQueue(0)
  assert.equal(rig.state.queues[0].resetting, true)
  rig.state.writeStatus(0)
  rig.start(RING_RESET)
  late.finish()
  assert.equal(rig.state.queues[0].enabled, true)
  assert.notEqual(rig.device.session?.queues[0], undefined)
  assert.equal(rig.notifications.includes('queue 0 reset'), false)
})

test('without RING_RESET a queue cannot be reset  @virtio 2.6.1', () => {
  const rig = new StateRig()
  rig.start()
  rig.state.resetQueue(0)
  assert.equal(rig.state.queues[0].enabled, true)
  assert.deepEqual(rig.echo(0, [1]), [1])
})

test('RING_RESET that was written but not negotiated does not reset queues  @virtio 3.1.1', () => {
  const rig = new StateRig()
  rig.accept(RING_RESET)
  rig.setUpQueue(0)
  rig.state.resetQueue(0)
  assert.equal(rig.state.queues[0].enabled, true)
})

test('resetting a queue that was never enabled has no effect', () => {
  const rig = new StateRig()
  rig.start(RING_RESET)
  rig.state.resetQueue(0)
  rig.state.resetQueue(0)
  assert.equal(rig.state.queues[0].enabled, false)
  assert.deepEqual(rig.echo(1, [1]), [1])
})

test('a device whose queue reset throws needs a reset, and the queue is reset nevertheless  @virtio 2.1.2', () => {
  const rig = new StateRig()
  rig.device.stopQueue = () => {
    throw new Error('stuck')
  }
  rig.start(RING_RESET)
  rig.state.resetQueue(0)
  assert.equal(rig.state.status, 15 | 64)
  assert.deepEqual(rig.logged, ['echo: needs a reset: stopQueue failed: stuck'])
  assert.equal(rig.state.queues[0].enabled, false)
  rig.state.writeStatus(0)
  rig.start()
  assert.deepEqual(rig.echo(0, [1]), [1])
})
