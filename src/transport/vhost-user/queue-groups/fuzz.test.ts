import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../../socket/testing/open-descriptors.ts'
import { fuzzParameters, hostileAct, perform } from '../testing/hostile-acts.ts'
import { QueueGroupsRig } from './testing/queue-groups-rig.ts'

const skip = ffiMissing() ?? false

/** Turns that suffice to answer a message, unless a device holds requests. */
async function someTurns({ reactor }: QueueGroupsRig): Promise<void> {
  for (let turns = 0; turns < 5; turns++) {
    reactor.turn()
    await setImmediate()
  }
}

test('with arbitrary messages and guest memory, no group throws or stalls, and all resources are released', {
  skip,
}, async () => {
  const property = fc.asyncProperty(
    fc.array(hostileAct, { maxLength: 40 }),
    fc.boolean(),
    fc.boolean(),
    async (acts, slow, packed) => {
      const before = openDescriptors()
      const devices = [new EchoDevice({ slow }), new EchoDevice({ slow })]
      const answer = () => {
        for (const device of devices) device.answer()
      }
      const rig = new QueueGroupsRig(devices)
      await rig.start(packed ? featureSet(Feature.RING_PACKED) : 0n)
      for (const what of acts) {
        perform(rig, answer, what)
        await someTurns(rig)
      }
      rig.frontEnd.close()
      rig.reactor.turn()
      answer()
      await rig.reactor.idle()
      assert.ok(rig.closed)
      assert.deepEqual(
        devices.map(({ session }) => session),
        [undefined, undefined],
      )
      assert.equal(rig.reactor.watches, 0)
      // The devices serve the next front-end.
      const next = new QueueGroupsRig(devices)
      await next.start()
      for (const queue of [0, 1]) next.send(queue, [7])
      answer()
      for (const queue of [0, 1]) assert.ok(next.guest.queues[queue].collect())
      await next.close()
      rig.guest.close()
      assert.equal(openDescriptors(), before)
    },
  )
  await fc.assert(property, fuzzParameters(60))
})
