import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { fuzzParameters, hostileAct, perform } from './testing/hostile-acts.ts'
import { NamedFiles } from './testing/named-files.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false

test('with arbitrary messages and guest memory, the back-end does not throw or stall, and releases all resources', {
  skip,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(hostileAct, { maxLength: 60 }),
      fc.boolean(),
      fc.boolean(),
      async (acts, slow, packed) => {
        const before = openDescriptors()
        const device = new EchoDevice({ slow })
        const objects = new NamedFiles()
        const rig = new VhostUserRig(device, { objects })
        objects.add(new Uint8Array(16), rig.guest.file.descriptor)
        rig.start(packed ? featureSet(Feature.RING_PACKED) : 0n)
        for (const what of acts) perform(rig, () => device.answer(), what)
        rig.frontEnd.close()
        rig.reactor.turn()
        device.answer()
        await rig.reactor.idle()
        assert.ok(rig.closed)
        assert.equal(device.session, undefined)
        assert.equal(rig.reactor.watches, 0)
        // The device serves the next front-end.
        const next = new VhostUserRig(device)
        next.start()
        next.send(0, [7])
        device.answer()
        assert.ok(next.guest.queues[0].collect())
        await next.close()
        rig.guest.close()
        assert.equal(openDescriptors(), before)
      },
    ),
    fuzzParameters(150),
  )
})
