import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Offload } from '../../../services/network-port.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { featureNames, featureSet, hasFeature } from '../../../virtio/feature.ts'
import { NetDevice } from './net.ts'
import { CtrlAck, CtrlClass, NetFeature, NetStatus } from './protocol.ts'
import { HeldPort } from './testing/held-port.ts'
import { BROADCAST, frame, header, NetDriver, STATION, STATION_TEXT } from './testing/net-driver.ts'

const ALL = 127
const CONTROLLED = ['MAC', 'MRG_RXBUF', 'STATUS', 'CTRL_VQ', 'CTRL_RX', 'CTRL_VLAN', 'CTRL_RX_EXTRA']

function names(device: NetDevice): string[] {
  return featureNames(device.features, NetFeature)
}

test('without offloads of its port, the device offers the features that it implements  @virtio 5.1.2, 5.1.3', () => {
  const device = new NetDevice(new HeldPort(), { mac: STATION_TEXT })
  assert.equal(device.id, DeviceId.NETWORK)
  assert.equal(device.queueSizes.length, 3)
  assert.deepEqual(names(device), [...CONTROLLED, 'GUEST_ANNOUNCE', 'CTRL_MAC_ADDR', 'SPEED_DUPLEX'])
})

test('the device also offers the offloads that its port supports  @virtio 5.1.3', () => {
  const device = new NetDevice(new HeldPort({ pairs: 4, mtu: 9000, offloads: ALL }))
  assert.equal(device.queueSizes.length, 9)
  const offered = new Set(names(device))
  for (const name of ['CSUM', 'GUEST_CSUM', 'CTRL_GUEST_OFFLOADS', 'MTU', 'MQ', 'HOST_USO', 'HOST_UFO', 'HOST_ECN']) {
    assert.ok(offered.has(name), name)
  }
  for (const name of ['GUEST_TSO4', 'GUEST_TSO6', 'GUEST_ECN', 'GUEST_UFO', 'GUEST_USO4', 'GUEST_USO6']) {
    assert.ok(offered.has(name), name)
  }
  for (const name of ['RSS', 'HASH_REPORT', 'HASH_TUNNEL', 'NOTF_COAL', 'VQ_NOTF_COAL', 'DEVICE_STATS', 'RSC_EXT']) {
    assert.ok(!offered.has(name), name)
  }
})

test('segmentation offloads are not offered without checksum offload  @virtio 5.1.3.1', () => {
  const device = new NetDevice(new HeldPort({ offloads: ALL & ~Offload.CSUM }))
  assert.deepEqual(names(device), names(new NetDevice(new HeldPort())))
  const four = new NetDevice(new HeldPort({ offloads: Offload.CSUM | Offload.USO4 }))
  assert.ok(hasFeature(four.features, NetFeature.GUEST_USO4))
  assert.ok(!hasFeature(four.features, NetFeature.HOST_USO), 'which is both')
})

test('the configuration space contains address, link, pairs, MTU and speed  @virtio 5.1.4', () => {
  const device = new NetDevice(new HeldPort({ pairs: 2, mtu: 1500, speed: 10_000 }), { mac: STATION_TEXT })
  const { config } = device
  assert.deepEqual(
    Array.from({ length: 6 }, (_, i) => config.read(i, 1)),
    [...STATION],
  )
  assert.equal(config.read(6, 2), NetStatus.LINK_UP)
  assert.equal(config.read(8, 2), 2)
  assert.equal(config.read(10, 2), 1500)
  assert.equal(config.read(12, 4), 10_000)
  assert.equal(config.read(16, 1), 1)
  assert.equal(config.read(17, 1), 0)
  config.write(0, 1, 0xee)
  assert.equal(config.read(0, 1), STATION[0], 'it is read-only')
})

test('without a known speed, speed and duplex are unknown  @virtio 5.1.4', () => {
  const { config } = new NetDevice(new HeldPort())
  assert.equal(config.read(12, 4), 0xffff_ffff)
  assert.equal(config.read(16, 1), 0xff)
})

test('the MAC address is that of one station, given or random', () => {
  for (const mac of [
    '',
    '52:54:00:12:34',
    '52-54-00-12-34-56',
    'ff:ff:ff:ff:ff:ff',
    '00:00:00:00:00:00',
    '01:00:5e:0:0:1',
  ]) {
    assert.throws(() => new NetDevice(new HeldPort(), { mac }), RangeError, mac)
  }
  for (let i = 0; i < 20; i++) {
    const { config } = new NetDevice(new HeldPort())
    assert.equal(config.read(0, 1) & 3, 2)
  }
})

test('an MTU outside the valid range is refused by the constructor  @virtio 5.1.4.1', () => {
  for (const mtu of [67, 65536, Number.NaN]) assert.throws(() => new NetDevice(new HeldPort({ mtu })), RangeError)
})

test('the MTU of a device may be lower than that of its port, but not higher  @virtio 5.1.4', () => {
  const device = new NetDevice(new HeldPort({ mtu: 1500 }), { mtu: 1280 })
  assert.equal(device.config.read(10, 2), 1280)
  assert.ok(device.setMtu(1280))
  assert.ok(!device.setMtu(1500))
  assert.ok((new NetDevice(new HeldPort(), { mtu: 9000 }).features & featureSet(NetFeature.MTU)) !== 0n)
  assert.throws(() => new NetDevice(new HeldPort({ mtu: 1500 }), { mtu: 1501 }), RangeError)
})

test('the driver is notified when the link changes, by the port or by connect  @virtio 5.1.4', () => {
  const port = new HeldPort()
  const device = new NetDevice(port)
  const { rig } = new NetDriver(device)
  const status = () => device.config.read(6, 2)
  port.setLink(false)
  assert.deepEqual([status(), rig.configChanges], [0, 1])
  port.setLink(false)
  device.connect(false)
  port.setLink(true)
  assert.deepEqual([status(), rig.configChanges], [0, 1], 'still down')
  device.connect(true)
  assert.deepEqual([status(), rig.configChanges], [NetStatus.LINK_UP, 2])
})

test('while the link is down, sent packets are dropped and none are received', () => {
  const port = new HeldPort()
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const driver = new NetDriver(device)
  driver.post([2000])
  device.connect(false)
  assert.ok(driver.send(frame(60, 1)).reply)
  port.arrive(frame(60, 2))
  assert.equal(port.sent.length, 0)
  assert.equal(driver.received().length, 0)
  assert.equal(device.counters.sent.linkDown, 1)
})

test('packets that arrive while the link is down are received when it is up again', () => {
  const port = new HeldPort()
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const driver = new NetDriver(device)
  driver.post([2000])
  device.connect(false)
  port.arrive(frame(60, 2))
  device.connect(true)
  assert.equal(driver.received().length, 1)
})

test('ANNOUNCE is set in the status until the driver acknowledges it  @virtio 5.1.6.5.4', () => {
  const port = new HeldPort()
  const device = new NetDevice(port)
  const driver = new NetDriver(device)
  device.announce()
  assert.equal(device.config.read(6, 2), NetStatus.LINK_UP | NetStatus.ANNOUNCE)
  assert.equal(driver.rig.configChanges, 1)
  assert.equal(driver.command(CtrlClass.ANNOUNCE, 0), CtrlAck.OK)
  assert.equal(device.config.read(6, 2), NetStatus.LINK_UP)
  assert.equal(port.sent.length, 0)
})

test('without GUEST_ANNOUNCE the device sends a RARP broadcast itself', () => {
  const port = new HeldPort()
  const device = new NetDevice(port, { mac: STATION_TEXT })
  new NetDriver(device, { features: featureSet(32, NetFeature.MAC) })
  device.announce()
  const [{ header: sent, frame: bytes }] = port.sent
  assert.deepEqual(sent, header())
  assert.equal(bytes.length, 60)
  assert.deepEqual([...bytes.subarray(0, 22)], [...BROADCAST, ...STATION, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3])
  assert.deepEqual([...bytes.subarray(22, 28)], [...STATION])
  assert.deepEqual([...bytes.subarray(32, 38)], [...STATION])
})

test('a reset restores the address, one pair, an empty filter and no announcement  @virtio 5.1.6.5.2.1', async () => {
  const port = new HeldPort({ pairs: 2 })
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const driver = new NetDriver(device)
  assert.equal(driver.command(CtrlClass.MAC, 1, [2, 2, 2, 2, 2, 2]), CtrlAck.OK)
  assert.equal(driver.command(CtrlClass.MQ, 0, [2, 0]), CtrlAck.OK)
  assert.equal(driver.command(CtrlClass.RX, 0, [1]), CtrlAck.OK)
  device.announce()
  await driver.rig.reset()
  assert.equal(device.config.read(0, 1), STATION[0])
  assert.equal(device.config.read(6, 2), NetStatus.LINK_UP)
  const next = new NetDriver(device)
  assert.equal(port.usedPairs, 1)
  next.post([200, 200])
  port.arrive(frame(60, 1, [2, 2, 2, 2, 2, 2]))
  port.arrive(frame(60, 2))
  assert.deepEqual(
    next.received().map((packet) => packet.frame),
    [frame(60, 2)],
  )
})

test('a port that refuses the negotiated offloads sets DEVICE_NEEDS_RESET', () => {
  const port = new HeldPort({ offloads: ALL })
  port.unwilling = true
  const { rig } = new NetDriver(new NetDevice(port))
  assert.deepEqual(rig.failures, ['the port refuses the negotiated receive offloads'])
})
