/** TAP interface of the host, in a separate network namespace. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import path from 'node:path'
import { after, test } from 'node:test'
import { TapPort } from '../../src/backends/net/tap-port.ts'
import { NetDevice } from '../../src/devices/virtio/net/net.ts'
import { CtrlAck, CtrlClass, CtrlMq, NetFeature } from '../../src/devices/virtio/net/protocol.ts'
import { header } from '../../src/devices/virtio/net/testing/net-driver.ts'
import { createReactor } from '../../src/host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../../src/host/linux/reactor/reactor.ts'
import { KINDS } from '../../src/host/linux/reactor/testing/kinds.ts'
import { runWith } from '../../src/host/linux/reactor/testing/run-with.ts'
import { HeaderFlag } from '../../src/services/packet.ts'
import { Feature, featureSet } from '../../src/virtio/feature.ts'
import { bridge } from './bridge.ts'
import {
  arpAnswer,
  arpRequest,
  type Station,
  UDP_CHECKSUM,
  UDP_OFFSET,
  udpChecksumGood,
  udpData,
  udpFrame,
} from './frames.ts'
import { Guest, until } from './guest.ts'
import { enterNamespace, ip, namespaceRefused } from './namespace.ts'

const skipAll = namespaceRefused() ?? false
if (skipAll === false) enterNamespace()
const GUEST: Station = { mac: '52:54:00:12:34:56', ip: '10.9.0.2' }
const HOST_IP = '10.9.0.1'
/** Bytes of the transfer. */
const TRANSFER = 8 << 20

function withTap(
  name: string,
  pairs: number,
  body: (port: TapPort, device: NetDevice, reactor: Reactor) => Promise<void>,
): void {
  for (const { kind, skip } of KINDS) {
    test(`${name}: ${kind}`, { skip: skipAll || skip, timeout: 60_000 }, async () => {
      const reactor = createReactor({ prefer: kind })
      const port = TapPort.open({ name: 'test%d', pairs }, reactor)
      try {
        ip('addr', 'add', `${HOST_IP}/24`, 'dev', port.name)
        ip('neigh', 'replace', GUEST.ip, 'lladdr', GUEST.mac, 'dev', port.name)
        const device = new NetDevice(port, { mac: GUEST.mac })
        await runWith(reactor, () => body(port, device, reactor))
      } finally {
        port.close()
        reactor.close()
      }
    })
  }
}

async function hostStation(guest: Guest, pair = 0): Promise<Station> {
  guest.take()
  guest.driver.send(arpRequest(GUEST, HOST_IP), header(), [], pair)
  const mac = await until(() =>
    guest
      .take()
      .map((packet) => arpAnswer(packet.frame, HOST_IP))
      .find(Boolean),
  )
  return { mac, ip: HOST_IP }
}

withTap('the host answers the guest, and has the MTU and offloads of its kernel', 1, async (port, device) => {
  const guest = new Guest(device)
  const { mac } = await hostStation(guest)
  assert.match(ip('link', 'show', port.name), new RegExp(`link/ether ${mac}`))
  assert.equal(device.config.read(10, 2), 1500)
  for (const feature of [NetFeature.CSUM, NetFeature.GUEST_CSUM, NetFeature.HOST_TSO4, NetFeature.GUEST_TSO6]) {
    assert.ok((device.features & featureSet(feature)) !== 0n)
  }
})

withTap('a checksum is computed by the side that agreed to it, in both directions', 1, async (port, device) => {
  for (const partial of [true, false]) {
    const plain = featureSet(Feature.VERSION_1, NetFeature.MAC, NetFeature.MRG_RXBUF)
    const guest = new Guest(device, partial ? plain | featureSet(NetFeature.GUEST_CSUM, NetFeature.CSUM) : plain)
    const host = await hostStation(guest)
    const socket = createSocket('udp4').bind(7007, HOST_IP)
    await once(socket, 'listening')
    socket.send('to the guest', 7008, GUEST.ip)
    const packet = await until(() => guest.take().find(({ frame }) => udpData(frame, 7008)))
    assert.equal(new TextDecoder().decode(udpData(packet.frame, 7008)), 'to the guest')
    assert.equal(packet.header[0] & HeaderFlag.NEEDS_CSUM, partial ? 1 : 0)
    assert.equal(udpChecksumGood(packet.frame), !partial)
    if (partial) {
      const reply = udpFrame(GUEST, host, 7008, 7007, new TextEncoder().encode('from the guest'))
      const claims = { flags: HeaderFlag.NEEDS_CSUM, csumStart: UDP_OFFSET, csumOffset: UDP_CHECKSUM }
      guest.driver.send(reply, header(claims))
      const [message] = await once(socket, 'message')
      assert.equal(String(message), 'from the guest')
    }
    socket.close()
    await guest.driver.rig.reset()
  }
  assert.equal(port.counters.refused, 0)
})

withTap('several queues are used when the driver says so, and answered', 2, async (port, device) => {
  const guest = new Guest(device)
  assert.equal(guest.driver.command(CtrlClass.MQ, CtrlMq.VQ_PAIRS_SET, [2, 0]), CtrlAck.OK)
  await hostStation(guest, 0)
  await hostStation(guest, 1)
  assert.equal(port.inspect()['queues'], 2)
  assert.equal(guest.driver.command(CtrlClass.MQ, CtrlMq.VQ_PAIRS_SET, [1, 0]), CtrlAck.OK)
  assert.equal(port.inspect()['queues'], 1)
  await hostStation(guest, 0)
})

withTap('an interface that is removed takes the link down, once and for all', 1, async (port, device) => {
  const guest = new Guest(device)
  await hostStation(guest)
  ip('link', 'del', port.name)
  await until(() => (device.config.read(6, 2) === 0 ? true : undefined))
  assert.ok(guest.driver.send(arpRequest(GUEST, HOST_IP)).reply)
  assert.equal(port.linkUp, false)
})

withTap(
  'an interface in use, one of another kind and an invalid name have different errors',
  1,
  async (port, _device, reactor) => {
    assert.throws(() => TapPort.open({ name: port.name }, reactor), /is in use by another process/)
    assert.throws(() => TapPort.open({ name: 'lo' }, reactor), /not a TAP interface/)
    assert.throws(() => TapPort.open({ name: 'a name too long to be' }, reactor), /not a valid interface name/)
    assert.throws(() => TapPort.open({ name: port.name, pairs: 2 }, reactor), /multi_queue|another process/)
  },
)

withTap('TCP crosses two devices, in segments larger than frames, byte for byte', 1, async (port, device, reactor) => {
  const far = TapPort.open({ name: 'far%d' }, reactor)
  const script = path.join(import.meta.dirname, 'echo-station.js')
  const station = spawn('unshare', ['-n', process.execPath, script, far.name, '10.9.0.3/24', '7009'])
  after(() => station.kill())
  try {
    await once(station.stdout, 'data')
    ip('link', 'set', far.name, 'netns', String(station.pid))
    const bridged = bridge([device, new NetDevice(far)], reactor)
    station.stdin.write('go\n')
    await once(station.stdout, 'data')
    const refused = () => port.counters.refused + far.counters.refused
    const before = refused()
    const sent = randomBytes(TRANSFER)
    const socket = createConnection(7009, '10.9.0.3')
    socket.end(sent)
    const got = createHash('sha256')
    let bytes = 0
    for await (const chunk of socket) {
      got.update(chunk)
      bytes += chunk.length
    }
    bridged.close()
    assert.equal(bytes, TRANSFER)
    assert.equal(got.digest('hex'), createHash('sha256').update(sent).digest('hex'))
    const { segmented, merged } = bridged.counters
    for (const side of [0, 1]) assert.ok(segmented[side] > 0 && merged[side] > 0, `side ${side}`)
    assert.equal(refused(), before)
  } finally {
    station.stdin.end()
    far.close()
  }
})
