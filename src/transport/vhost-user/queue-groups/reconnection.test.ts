import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../../socket/testing/open-descriptors.ts'
import { QueueGroupsRig } from './testing/queue-groups-rig.ts'

const skip = ffiMissing() ?? false
const NEW_AREA = { mmapSize: 0, mmapOffset: 0, queues: 4, queueSize: 64 }

function devices(groups: number, slow: boolean): EchoDevice[] {
  return Array.from({ length: groups }, () => new EchoDevice({ queueSizes: [64, 64, 64, 64], slow }))
}

for (const [ring, features] of [
  ['split', 0n],
  ['packed', featureSet(Feature.RING_PACKED)],
] as const) {
  test(`${ring}: requests in flight of dead groups are served by any number of new groups`, {
    skip,
  }, async () => {
    const before = openDescriptors()
    const first = devices(2, true)
    const rig = new QueueGroupsRig(first)
    const { guest } = rig
    await rig.negotiate(features)
    const { value: area, descriptors } = await rig.ask('GET_INFLIGHT_FD', NEW_AREA)
    assert.equal(await rig.acknowledged('SET_INFLIGHT_FD', area, descriptors), 0)
    await rig.startRings()
    for (let i = 0; i < 280; i++) {
      rig.send(i % 4, [i])
      for (const device of first) device.answer()
      assert.ok(guest.queues[i % 4].collect())
    }
    for (let i = 0; i < 12; i++) rig.send(i % 4, [i])
    rig.frontEnd.close()
    // The groups notice the disconnection a turn later than the splitter.
    for (let turns = 0; turns < 3; turns++) rig.reactor.turn()
    for (const device of first) device.answer()
    await rig.reactor.idle()
    assert.ok(rig.closed)
    for (const queue of guest.queues) assert.equal(queue.collect(), false)

    const next = new QueueGroupsRig(devices(3, false), guest)
    await next.negotiate(features)
    assert.equal(await next.acknowledged('SET_INFLIGHT_FD', area, descriptors), 0)
    await next.startRings()
    for (const queue of guest.queues) {
      for (let i = 0; i < 3; i++) assert.ok(queue.collect())
      assert.equal(queue.collect(), false, 'a request is answered twice')
    }
    for (const queue of [0, 1, 2, 3]) assert.deepEqual(next.echo(queue, [queue]), [queue])
    await next.close()
    for (const descriptor of descriptors) descriptor.close()
    assert.equal(openDescriptors(), before)
  })
}
