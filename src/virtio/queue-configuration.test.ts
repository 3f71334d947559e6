import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet } from './feature.ts'
import { QueueArea, QueueState } from './queue-state.ts'
import { Status } from './status.ts'
import { EchoDevice } from './testing/echo-device.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

const PACKED = featureSet(Feature.RING_PACKED)
const RING_RESET = featureSet(Feature.RING_RESET)

test('a split queue accepts only smaller sizes that are a power of two  @virtio 4.1.4.3.1', () => {
  const queue = new QueueState(64)
  for (const [written, size] of [
    [32, 32],
    [48, 32],
    [0, 32],
    [1, 1],
    [65, 1],
    [128, 1],
    [0xffff, 1],
    [64, 64],
  ]) {
    queue.setSize(written, false)
    assert.equal(queue.size, size, `after ${written}`)
  }
})

test('a packed queue accepts any smaller size  @virtio 2.8.10.1', () => {
  const queue = new QueueState(64)
  for (const [written, size] of [
    [48, 48],
    [3, 3],
    [0, 3],
    [65, 3],
    [1, 1],
  ]) {
    queue.setSize(written, true)
    assert.equal(queue.size, size, `after ${written}`)
  }
})

test('an address is combined from its words, also above 4 GiB', () => {
  const queue = new QueueState(64)
  queue.addressWords.set([0x9000_0000, 0x12], QueueArea.DRIVER)
  assert.equal(queue.address(QueueArea.DRIVER), 0x12_9000_0000)
  assert.equal(queue.address(QueueArea.DESCRIPTOR), 0)
})

for (const [name, features] of [
  ['split', 0n],
  ['packed', PACKED],
] as const) {
  test(`queues of two descriptors work, the minimum for these requests: ${name}`, () => {
    const rig = new StateRig()
    rig.negotiate(VERSION_1 | features)
    rig.state.configurableQueue(0)?.setSize(2, features === PACKED)
    rig.setUpQueue(0)
    rig.setStatus(Status.DRIVER_OK)
    for (let i = 0; i < 20; i++) assert.deepEqual(rig.echo(0, [i]), [i])
  })
}

test('a packed queue whose size is not a power of two wraps correctly  @virtio 2.8.1', () => {
  const rig = new StateRig()
  rig.negotiate(VERSION_1 | PACKED)
  rig.state.configurableQueue(0)?.setSize(5, true)
  rig.setUpQueue(0)
  rig.setStatus(Status.DRIVER_OK)
  for (let i = 0; i < 50; i++) assert.deepEqual(rig.echo(0, [i]), [i])
})

test('an enabled queue cannot be configured until a reset', () => {
  const rig = new StateRig()
  rig.negotiate(VERSION_1)
  rig.setUpQueue(0)
  assert.equal(rig.state.configurableQueue(0), undefined)
  assert.notEqual(rig.state.configurableQueue(1), undefined)
  rig.state.writeStatus(0)
  assert.notEqual(rig.state.configurableQueue(0), undefined)
})

test('queues that do not exist cannot be configured, enabled, reset or notified', () => {
  const rig = new StateRig()
  rig.start(RING_RESET)
  for (const index of [2, 0xffff, -1, 0.5]) {
    assert.equal(rig.state.configurableQueue(index), undefined)
    rig.state.enableQueue(index)
    rig.state.resetQueue(index)
    rig.state.notify(index)
  }
  assert.deepEqual(rig.notifications, [])
  assert.deepEqual(rig.logged, [])
})

test('a device receives only enabled queues and their notifications', () => {
  const rig = new StateRig()
  let notified = 0
  rig.device.onNotify = () => notified++
  rig.negotiate(VERSION_1)
  rig.setUpQueue(1)
  rig.setStatus(Status.DRIVER_OK)
  assert.equal(rig.device.session?.queues[0], undefined)
  assert.notEqual(rig.device.session?.queues[1], undefined)
  assert.equal(notified, 1)
  rig.state.notify(0)
  assert.equal(notified, 1)
  assert.deepEqual(rig.echo(1, [1]), [1])
})

test('buffers made available before DRIVER_OK are popped only after it  @virtio 2.1.2', () => {
  const rig = new StateRig()
  rig.negotiate(VERSION_1)
  rig.setUpQueue(0)
  rig.send(0, [1])
  rig.state.notify(0)
  assert.equal(rig.queues[0].collect(), false)
  assert.deepEqual(rig.notifications, [])
  rig.setStatus(Status.DRIVER_OK)
  assert.equal(rig.queues[0].collect(), true)
  assert.deepEqual(rig.notifications, ['queue 0'])
})

test('after DRIVER_OK a queue can be enabled only with RING_RESET  @virtio 2.6.1.2.1', () => {
  for (const features of [0n, RING_RESET]) {
    const rig = new StateRig()
    rig.negotiate(VERSION_1 | features)
    rig.setUpQueue(0)
    rig.setStatus(Status.DRIVER_OK)
    rig.setUpQueue(1)
    assert.equal(rig.state.queues[1].enabled, features === RING_RESET)
    assert.deepEqual(rig.echo(1, [1]), features === RING_RESET ? [1] : undefined)
    assert.deepEqual(rig.echo(0, [2]), [2])
  }
})

for (const [what, area, address] of [
  ['outside guest memory', QueueArea.DESCRIPTOR, [0xffff_f000, 0]],
  ['above all addresses', QueueArea.DRIVER, [0xffff_fffe, 0xffff_ffff]],
  ['misaligned', QueueArea.DESCRIPTOR, [0x1008, 0]],
  ['half outside guest memory', QueueArea.DEVICE, [(1 << 20) - 4, 0]],
] as const) {
  test(`a ring ${what} sets DEVICE_NEEDS_RESET  @virtio 2.1.2`, () => {
    const rig = new StateRig()
    rig.negotiate(VERSION_1)
    rig.state.configurableQueue(0)?.addressWords.set([0x1000, 0, 0x2000, 0, 0x3000, 0])
    rig.state.configurableQueue(0)?.addressWords.set(address, area)
    rig.state.enableQueue(0)
    rig.setStatus(Status.DRIVER_OK)
    assert.equal(rig.state.status, 15 | Status.DEVICE_NEEDS_RESET)
    assert.deepEqual(rig.notifications, ['config'])
    assert.equal(rig.logged.length, 1)
    rig.state.writeStatus(0)
    rig.start()
    assert.deepEqual(rig.echo(0, [1]), [1])
  })
}

test('a device can be inspected in any state', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  assert.equal(rig.state.inspect().queues.length, 2)
  rig.start(PACKED)
  rig.send(0, [1])
  const { name, status, queues, negotiated } = rig.state.inspect()
  assert.deepEqual([name, status.length, negotiated], ['echo', 4, ['VERSION_1', 'RING_PACKED']])
  assert.deepEqual(
    [queues[0].size, queues[0].enabled, queues[0].packed, queues[0].inFlight, queues[0].popped, queues[0].pushed],
    [64, true, true, 1, 1, 0],
  )
})
