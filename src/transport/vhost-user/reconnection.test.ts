import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import type { InflightDescription } from './inflight/inflight-area.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false

interface Kept {
  readonly description: InflightDescription
  readonly descriptor: Descriptor
}

/** Starts ring 0 with an in-flight area: the kept one, or a new one. */
function begin(rig: VhostUserRig, features: bigint, kept?: Kept): Kept {
  rig.negotiate(features)
  const known = kept ?? newArea(rig)
  rig.frontEnd.send('SET_INFLIGHT_FD', known.description, [known.descriptor])
  rig.shareMemory()
  rig.startRing(0)
  return known
}

function newArea(rig: VhostUserRig): Kept {
  const { value, descriptors } = rig.frontEnd.ask('GET_INFLIGHT_FD', {
    mmapSize: 0,
    mmapOffset: 0,
    queues: 2,
    queueSize: 64,
  })
  return { description: value, descriptor: descriptors[0] }
}

for (const [ring, features] of [
  ['split', 0n],
  ['packed', featureSet(Feature.RING_PACKED)],
] as const) {
  test(`${ring}: requests in flight of a dead back-end are served once by the next`, {
    skip,
  }, async () => {
    const before = openDescriptors()
    const first = new EchoDevice({ slow: true })
    const rig = new VhostUserRig(first)
    const kept = begin(rig, features)
    const { guest } = rig
    for (let i = 0; i < 70; i++) {
      rig.send(0, [i])
      first.answer()
      assert.ok(guest.queues[0].collect())
    }
    for (const value of [71, 72, 73]) rig.send(0, [value])
    // The second of three requests is answered; the others stay in flight.
    const [answered] = first.kept.splice(1, 1)
    first.session?.queues[0]?.push(answered.chain, answered.chain.reader.copyTo(answered.chain.writer))
    rig.reactor.turn()
    assert.ok(guest.queues[0].collect())
    rig.frontEnd.close()
    rig.reactor.turn()
    first.answer()
    await rig.reactor.idle()
    assert.ok(rig.closed)
    assert.equal(guest.queues[0].collect(), false, 'a completion after the connection ended is not written to the ring')

    const second = new VhostUserRig(new EchoDevice(), { guest })
    begin(second, features, kept)
    assert.ok(guest.queues[0].collect() && guest.queues[0].collect())
    assert.equal(guest.queues[0].collect(), false)
    assert.ok(guest.calls[0].drain() > 0)
    assert.deepEqual(second.echo(0, [74]), [74])
    assert.deepEqual(second.logged, ['echo: ring 0: resuming 2 requests in flight'])
    await second.close()
    kept.descriptor.close()
    assert.equal(openDescriptors(), before)
  })

  test(`${ring}: after an orderly close, the next back-end finds no requests in flight`, { skip }, async () => {
    const rig = new VhostUserRig(new EchoDevice())
    const kept = begin(rig, features)
    for (let i = 0; i < 70; i++) rig.echo(0, [i])
    rig.backend.close()
    await rig.reactor.idle()
    const second = new VhostUserRig(new EchoDevice(), { guest: rig.guest })
    // The base is that of the first start: the position in the area is used instead.
    begin(second, features, kept)
    assert.deepEqual(second.echo(0, [1]), [1])
    await second.close()
    kept.descriptor.close()
  })

  test(`${ring}: a ring that starts anew after a stop ignores the position in the area`, { skip }, async () => {
    const rig = new VhostUserRig(new EchoDevice())
    const kept = begin(rig, features)
    for (let i = 0; i < 70; i++) rig.echo(0, [i])
    rig.stopRing(0)
    rig.guest.queues.length = 0
    rig.startRing(0)
    assert.deepEqual(rig.echo(0, [1]), [1])
    await rig.close()
    kept.descriptor.close()
  })
}

test('a device serves front-ends one after another, and is reset in between', { skip }, async () => {
  const before = openDescriptors()
  const device = new EchoDevice()
  for (let i = 0; i < 5; i++) {
    const rig = new VhostUserRig(device)
    rig.start(i % 2 === 0 ? 0n : featureSet(Feature.RING_PACKED))
    assert.deepEqual(rig.echo(0, [i]), [i])
    await rig.close()
    assert.equal(device.resets, i + 1)
    assert.equal(device.session, undefined)
  }
  assert.equal(openDescriptors(), before)
})

test('an invalid in-flight area is refused: a file that is too short, or queues of no length', {
  skip,
}, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.negotiate()
  const area = newArea(rig)
  const set = (change: Partial<InflightDescription>) =>
    rig.frontEnd.acknowledged('SET_INFLIGHT_FD', { ...area.description, ...change }, [area.descriptor])
  assert.equal(set({ mmapSize: 2 ** 40 }), 1)
  assert.equal(set({ mmapSize: area.description.mmapSize + 1 }), 1)
  assert.equal(set({ mmapOffset: 4096 }), 1)
  assert.equal(set({ mmapSize: 0 }), 1)
  assert.equal(set({}), 0)
  rig.frontEnd.send('GET_INFLIGHT_FD', { mmapSize: 0, mmapOffset: 0, queues: 2, queueSize: 0 })
  assert.ok(rig.frontEnd.ended)
  area.descriptor.close()
  await rig.close()
})
