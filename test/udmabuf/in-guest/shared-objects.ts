import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDescriptors } from '../../../src/backends/buffers/testing/test-memory.ts'
import { GpuCommand, GpuResponse } from '../../../src/devices/virtio/gpu/protocol.ts'
import { Descriptor } from '../../../src/host/linux/descriptor.ts'
import { DmaBuf } from '../../../src/host/linux/udmabuf/dma-buf.ts'
import { BufferObjects } from '../../../src/transport/vhost-user/buffer-objects.ts'
import { BackEndMessage } from '../../../src/transport/vhost-user/messages.ts'
import type { NotFound } from '../../../src/transport/vhost-user/shared-objects.ts'
import { NamedFiles } from '../../../src/transport/vhost-user/testing/named-files.ts'
import { OtherChannel } from '../../../src/transport/vhost-user/testing/other-channel.ts'
import { VhostUserRig } from '../../../src/transport/vhost-user/testing/vhost-user-rig.ts'
import { EchoDevice } from '../../../src/virtio/testing/echo-device.ts'
import { GpuGuest } from './gpu-guest.ts'
import { allBuffers } from './kernel.ts'

const PAGES = 8

for (const [how, takeBack] of [
  ['destroys it', async ({ gpu }: GpuGuest) => void gpu.unref(1)],
  ['resets its GPU', ({ gpu }: GpuGuest) => gpu.driver.reset()],
] as const) {
  test(`another device gets a GPU's dma-buf by its UUID, and keeps it when the guest ${how}`, async () => {
    const before = { ...allBuffers(), descriptors: openDescriptors() }
    const guest = new GpuGuest()
    const owner = new VhostUserRig(new EchoDevice(), { objects: new BufferObjects(guest.buffers, assert.fail) })
    const requester = new VhostUserRig(new EchoDevice(), { objects: new NamedFiles() })
    for (const rig of [owner, requester]) rig.negotiate()
    const [table, searches] = [new OtherChannel(owner), new OtherChannel(requester)]
    const entries = guest.scatter(PAGES)
    guest.draw(entries)
    assert.equal(guest.createBlob(1, entries), GpuResponse.OK_NODATA)
    const { payload: uuid } = guest.gpu.control(GpuCommand.RESOURCE_ASSIGN_UUID, [1, 0])
    const added = table.next()
    assert.equal(added?.request, BackEndMessage.SHARED_OBJECT_ADD.id)
    assert.deepEqual(added.payload, uuid)

    const results: (Descriptor | NotFound)[] = []
    requester.backend.lookup(uuid, (result) => results.push(result))
    const search = searches.take()
    assert.ok(search)
    const { descriptors } = owner.frontEnd.ask('GET_SHARED_OBJECT', { uuid })
    searches.answer(search, 0, descriptors)
    for (const descriptor of descriptors) descriptor.close()
    const [found] = results
    assert.ok(found instanceof Descriptor)
    const buffer = DmaBuf.fromDescriptor(found)
    assert.ok(guest.contents(entries).equals(buffer.bytes))
    const handle = guest.vgem.import(buffer)

    await takeBack(guest)
    assert.equal(table.next()?.request, BackEndMessage.SHARED_OBJECT_REMOVE.id)
    assert.equal(owner.frontEnd.ask('GET_SHARED_OBJECT', { uuid }).descriptors.length, 0)
    guest.draw(entries)
    assert.ok(guest.contents(entries).equals(buffer.bytes), 'the pages are the same')
    guest.vgem.closeHandle(handle)
    buffer.close()
    for (const closable of [table, searches]) closable.close()
    for (const rig of [owner, requester]) await rig.close()
    await guest.close()
    assert.deepEqual({ ...allBuffers(), descriptors: openDescriptors() }, before)
  })
}
