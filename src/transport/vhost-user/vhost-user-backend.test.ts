import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false

const RINGS = [
  ['split', 0n],
  ['split with event indices', featureSet(Feature.EVENT_IDX)],
  ['packed', featureSet(Feature.RING_PACKED)],
  ['packed with event indices, in order', featureSet(Feature.RING_PACKED, Feature.EVENT_IDX, Feature.IN_ORDER)],
] as const

for (const [ring, features] of RINGS) {
  test(`${ring}: rings that a front-end sets up are served`, { skip }, async () => {
    const rig = new VhostUserRig(new EchoDevice())
    rig.start(features)
    assert.deepEqual(rig.echo(0, [1, 2, 3]), [1, 2, 3])
    assert.deepEqual(rig.echo(1, [4]), [4])
    for (let i = 0; i < 200; i++) assert.deepEqual(rig.echo(0, [i]), [i])
    assert.ok(rig.guest.calls[0].drain() > 0)
    await rig.close()
    assert.deepEqual(rig.logged, [])
    assert.ok(rig.closed)
    assert.equal(rig.reason, undefined)
    assert.equal(rig.reactor.watches, 0)
  })
}

test('a stopped ring restarts at its position, without a reset of the device', { skip }, async () => {
  for (const [, features] of RINGS) {
    const device = new EchoDevice()
    const rig = new VhostUserRig(device)
    rig.start(features)
    for (let i = 0; i < 70; i++) rig.echo(0, [i])
    const bases = [rig.stopRing(0), rig.stopRing(1)]
    if (features === 0n) assert.deepEqual(bases, [70, 0])
    for (const [index, base] of bases.entries()) rig.startRing(index, base)
    assert.deepEqual(rig.echo(0, [5]), [5])
    assert.deepEqual([device.starts, device.resets], [1, 0])
    await rig.close()
  }
})

test('a ring at another position, after all rings stopped, is a new driver, and the device is reset', {
  skip,
}, async () => {
  const device = new EchoDevice()
  const rig = new VhostUserRig(device)
  rig.start()
  rig.echo(0, [1])
  rig.stopRing(0)
  rig.stopRing(1)
  rig.guest.queues.length = 0
  rig.startRing(0)
  rig.startRing(1)
  assert.deepEqual([device.starts, device.resets], [2, 1])
  assert.deepEqual(rig.echo(0, [2]), [2])
  await rig.close()
})

test('a stopped ring is not served, and requests made meanwhile are served when it restarts', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  const base = rig.stopRing(0)
  assert.equal(rig.echo(0, [1]), undefined)
  rig.startRing(0, base)
  assert.ok(rig.guest.queues[0].collect())
  await rig.close()
})

test('a disabled ring keeps its requests until it is enabled  @vhost-user Ring states', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 0 })
  assert.equal(rig.echo(0, [1]), undefined)
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 1 })
  assert.ok(rig.guest.queues[0].collect())
  await rig.close()
})

test('without PROTOCOL_FEATURES all rings are enabled at once  @vhost-user SET_FEATURES', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.features = featureSet(Feature.VERSION_1)
  rig.frontEnd.send('SET_FEATURES', rig.features)
  rig.shareMemory()
  rig.startRing(0)
  assert.deepEqual(rig.echo(0, [1, 2]), [1, 2])
  await rig.close()
})

test('GET_VRING_BASE waits for the requests in flight, and later messages wait for it', { skip }, async () => {
  const device = new EchoDevice({ slow: true })
  const rig = new VhostUserRig(device)
  rig.start()
  rig.send(0, [1])
  rig.send(0, [2])
  rig.frontEnd.send('GET_VRING_BASE', { index: 0, num: 0 })
  rig.frontEnd.send('GET_FEATURES', undefined)
  assert.equal(rig.frontEnd.next(), undefined)
  assert.equal(device.kept.length, 2)
  device.answer()
  await rig.reactor.idle()
  assert.deepEqual([...(rig.frontEnd.next()?.payload ?? [])], [0, 0, 0, 0, 2, 0, 0, 0])
  assert.equal(rig.frontEnd.next()?.request, 1)
  assert.ok(rig.guest.queues[0].collect() && rig.guest.queues[0].collect())
  assert.ok(rig.guest.calls[0].drain() > 0)
  await rig.close()
})

test('a legacy driver, which cannot see a refusal of features, is served  @virtio 2.2.3', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.frontEnd.send('SET_FEATURES', 0n)
  rig.shareMemory()
  rig.startRing(0)
  assert.deepEqual(rig.echo(0, [1]), [1])
  assert.deepEqual(rig.logged, [])
  await rig.close()
})

test('RING_RESET is not offered, because a back-end is not notified of a queue reset  @virtio 2.6.1', {
  skip,
}, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  assert.equal(rig.frontEnd.ask('GET_FEATURES', undefined).value & featureSet(Feature.RING_RESET), 0n)
  const features = featureSet(Feature.VERSION_1, Feature.RING_RESET)
  rig.negotiate()
  // QEMU's GPU sets the bit nevertheless.
  assert.equal(rig.frontEnd.acknowledged('SET_FEATURES', features), 0)
  await rig.close()
})

test('no ring is served before features are set, which is logged once', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.shareMemory()
  rig.startRing(0)
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 1 })
  assert.equal(rig.echo(0, [1]), undefined)
  assert.deepEqual(rig.logged, ['echo: ring 0 waits: no features were set'])
  rig.frontEnd.send('SET_FEATURES', 0n)
  assert.ok(rig.guest.queues[0].collect())
  await rig.close()
})

test('with REPLY_ACK, a refused message is answered with a failure, and changes nothing', {
  skip,
}, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  assert.equal(rig.frontEnd.acknowledged('SET_VRING_ENABLE', { index: 7, num: 1 }), 1)
  assert.equal(rig.frontEnd.acknowledged('SET_VRING_NUM', { index: 0, num: 4 }), 1, 'in use')
  assert.equal(rig.frontEnd.acknowledged('SET_FEATURES', 1n << 60n), 1)
  assert.equal(rig.frontEnd.acknowledged('POSTCOPY_LISTEN', undefined), 1)
  assert.equal(rig.frontEnd.acknowledged('SET_OWNER', undefined), 0)
  assert.deepEqual(rig.echo(0, [1]), [1])
  assert.match(rig.logged[0], /SET_VRING_ENABLE refused: no ring 7/)
  await rig.close()
})

test('a refused message that requests no acknowledgement ends the connection', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 7, num: 1 })
  assert.ok(rig.frontEnd.ended)
  await rig.close()
  assert.match(rig.reason ?? '', /SET_VRING_ENABLE refused/)
})

test('GET_QUEUE_NUM returns the number of rings of the device  @vhost-user GET_QUEUE_NUM', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice({ queueSizes: [8, 8, 8] }))
  rig.negotiate()
  assert.equal(rig.frontEnd.ask('GET_QUEUE_NUM', undefined).value, 3)
  await rig.close()
})

test('RESET_DEVICE resets device and rings, and keeps the call descriptors', { skip }, async () => {
  const device = new EchoDevice()
  const rig = new VhostUserRig(device)
  rig.start()
  rig.echo(0, [1])
  assert.equal(rig.frontEnd.acknowledged('RESET_DEVICE', undefined), 0)
  assert.equal(device.resets, 1)
  assert.equal(rig.echo(0, [2]), undefined)
  rig.guest.queues.length = 0
  rig.startRing(0)
  assert.deepEqual(rig.echo(0, [3]), [3])
  await rig.close()
})

test('SET_STATUS sets the virtio status, and 0 resets a device with served rings  @vhost-user SET_STATUS', {
  skip,
}, async () => {
  const device = new EchoDevice()
  const rig = new VhostUserRig(device)
  const status = () => rig.frontEnd.ask('GET_STATUS', undefined).value
  rig.start()
  rig.frontEnd.send('SET_STATUS', 1 | 2 | 8)
  rig.frontEnd.send('SET_STATUS', 4)
  assert.equal(status(), 15)
  device.session?.needsReset('it is broken')
  assert.equal(status(), 15 | 64)
  assert.ok(rig.guest.errors[0].drain() > 0)
  rig.frontEnd.send('SET_STATUS', 0)
  assert.equal(status(), 0)
  assert.equal(device.resets, 1)
  await rig.close()
})

test('FEATURES_OK is not set in the status before features are set', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.frontEnd.send('SET_PROTOCOL_FEATURES', 1n << 16n)
  rig.frontEnd.send('SET_STATUS', 1 | 2 | 8)
  assert.equal(rig.frontEnd.ask('GET_STATUS', undefined).value, 3)
  rig.frontEnd.send('SET_FEATURES', 0n)
  rig.frontEnd.send('SET_STATUS', 1 | 2 | 8)
  assert.equal(rig.frontEnd.ask('GET_STATUS', undefined).value, 11)
  await rig.close()
})

test('status 0 with all rings stopped, as of a paused machine, does not reset the device', { skip }, async () => {
  const device = new EchoDevice()
  const rig = new VhostUserRig(device)
  rig.start()
  rig.echo(0, [1])
  const bases = [rig.stopRing(0), rig.stopRing(1)]
  rig.frontEnd.send('SET_STATUS', 0)
  rig.frontEnd.send('SET_FEATURES', rig.features)
  for (const [index, base] of bases.entries()) rig.startRing(index, base)
  assert.equal(device.resets, 0)
  assert.deepEqual(rig.echo(0, [2]), [2])
  await rig.close()
})

test('other features reset the device', { skip }, async () => {
  const device = new EchoDevice()
  const rig = new VhostUserRig(device)
  rig.start()
  rig.stopRing(0)
  rig.stopRing(1)
  rig.frontEnd.send('SET_FEATURES', rig.features | featureSet(Feature.EVENT_IDX))
  assert.equal(device.resets, 1)
  await rig.close()
})

test('a failed device stops all rings until its driver starts anew', { skip }, async () => {
  const device = new EchoDevice()
  const rig = new VhostUserRig(device)
  rig.start()
  device.onNotify = () => {
    throw new Error('out of paper')
  }
  assert.equal(rig.echo(0, [1]), undefined)
  device.onNotify = undefined
  assert.equal(rig.echo(1, [1]), undefined)
  assert.match(rig.logged[0], /needs a reset: notify failed: out of paper/)
  rig.stopRing(0)
  rig.stopRing(1)
  rig.guest.queues.length = 0
  rig.startRing(0)
  assert.deepEqual(rig.echo(0, [2]), [2])
  await rig.close()
})

test('close completes the requests in flight, then ends the connection', { skip }, async () => {
  const device = new EchoDevice({ slow: true })
  const rig = new VhostUserRig(device)
  rig.start()
  rig.guest.calls[0].drain()
  rig.send(0, [1])
  rig.backend.close()
  rig.frontEnd.send('GET_FEATURES', undefined)
  assert.equal(rig.frontEnd.next(), undefined)
  device.answer()
  await rig.reactor.idle()
  assert.ok(rig.closed)
  assert.ok(rig.frontEnd.ended)
  assert.ok(rig.guest.queues[0].collect())
  assert.ok(rig.guest.calls[0].drain() > 0)
  assert.equal(device.resets, 1)
  await rig.close()
})
