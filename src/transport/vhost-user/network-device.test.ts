import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NetDevice } from '../../devices/virtio/net/net.ts'
import { NetFeature } from '../../devices/virtio/net/protocol.ts'
import { HeldPort } from '../../devices/virtio/net/testing/held-port.ts'
import { BROADCAST, frame, header, STATION } from '../../devices/virtio/net/testing/net-driver.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { featureSet } from '../../virtio/feature.ts'
import { networkExtension } from './network-extension.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false
const OTHER = [2, 0, 0, 0, 0, 7]

/** Adds a buffer or packet of one descriptor to a ring, and kicks. */
function add(rig: VhostUserRig, queue: number, bytes: Uint8Array, writable: boolean): number {
  const { allocator, region } = rig.guest
  const part = { address: allocator.allocate(bytes.length), length: bytes.length }
  region.u8.set(bytes, part.address - region.base)
  rig.guest.queues[queue].add(writable ? [] : [part], writable ? [part] : [])
  rig.guest.queues[queue].kick()
  rig.kick(queue)
  return part.address
}

test('features that depend on one that the front-end keeps are accepted, and nothing is filtered', {
  skip,
}, async () => {
  const port = new HeldPort({ pairs: 2 })
  const device = new NetDevice(port)
  const network = { announce: (mac: Uint8Array) => device.sendRarp(mac), setMtu: (mtu: number) => device.setMtu(mtu) }
  const rig = new VhostUserRig(device, { extension: networkExtension(network) })
  // QEMU handles the guest's control commands itself.
  rig.negotiate(featureSet(NetFeature.MRG_RXBUF, NetFeature.MQ, NetFeature.GUEST_ANNOUNCE))
  rig.shareMemory()
  for (let index = 0; index < 4; index++) rig.startRing(index)
  assert.deepEqual(rig.logged, [])
  assert.equal(port.usedPairs, 2)

  add(rig, 3, Uint8Array.of(...header(), ...frame(60, 1)), false)
  assert.deepEqual(port.sent, [{ pair: 1, header: header(), frame: frame(60, 1) }])
  const { region } = rig.guest
  const buffer = add(rig, 2, new Uint8Array(200), true)
  port.arrive(frame(60, 2, OTHER), header(), 1)
  assert.deepEqual(region.u8.slice(buffer + 12 - region.base, buffer + 72 - region.base), frame(60, 2, OTHER))

  // When a ring stops, the buffers that the device holds become available again, so that the driver loses none.
  add(rig, 0, new Uint8Array(200), true)
  assert.equal(rig.stopRing(0), 0)
  assert.equal(rig.guest.queues[0].collect(), false)

  assert.equal(rig.frontEnd.acknowledged('NET_SET_MTU', 1500), 0)
  assert.equal(rig.frontEnd.acknowledged('NET_SET_MTU', 67), 1)
  assert.equal(rig.frontEnd.acknowledged('SEND_RARP', { mac: Uint8Array.from(STATION) }), 0)
  assert.deepEqual([...port.sent[1].frame.subarray(0, 12)], [...BROADCAST, ...STATION])
  await rig.close()
})

test('a control queue that starts after the others is served, and enables filtering', { skip }, async () => {
  const port = new HeldPort({ pairs: 2 })
  const device = new NetDevice(port)
  const rig = new VhostUserRig(device)
  const { MAC, CTRL_VQ, CTRL_RX, MQ } = NetFeature
  rig.negotiate(featureSet(MAC, CTRL_VQ, CTRL_RX, MQ))
  rig.shareMemory()
  for (let index = 0; index < 4; index++) rig.startRing(index)
  add(rig, 0, new Uint8Array(200), true)
  port.arrive(frame(60, 1, OTHER))
  assert.equal(device.counters.received.packets, 1)
  rig.startRing(4)
  assert.equal(port.usedPairs, 1)
  const filter = device.inspect().filter as Record<string, unknown>
  assert.equal(filter['promiscuous'], false)
  add(rig, 4, Uint8Array.of(0, 0, 1), false)
  assert.equal(device.counters.refusedCommands, 1, 'no room for the status')
  await rig.close()
})

test('a legacy driver’s header has num_buffers only with MRG_RXBUF  @virtio 5.1.6.1', {
  skip,
}, async () => {
  for (const [features, headerBytes] of [
    [0n, 10],
    [featureSet(NetFeature.MRG_RXBUF), 12],
  ] as const) {
    const port = new HeldPort()
    const rig = new VhostUserRig(new NetDevice(port))
    rig.features = features
    rig.frontEnd.send('SET_FEATURES', features)
    rig.shareMemory()
    rig.startRing(0)
    rig.startRing(1)
    add(rig, 1, Uint8Array.of(...header().subarray(0, headerBytes), ...frame(60, 1)), false)
    assert.deepEqual(port.sent, [{ pair: 0, header: header(), frame: frame(60, 1) }])
    const buffer = add(rig, 0, new Uint8Array(200), true)
    port.arrive(frame(60, 2))
    const { region } = rig.guest
    const at = buffer + headerBytes - region.base
    assert.deepEqual(region.u8.slice(at, at + 60), frame(60, 2))
    assert.ok(rig.guest.queues[0].collect())
    assert.equal(rig.guest.queues[0].written, headerBytes + 60)
    await rig.close()
  }
})
