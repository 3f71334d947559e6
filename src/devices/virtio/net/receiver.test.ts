import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GsoType, HeaderFlag, MAX_FRAME_BYTES } from '../../../services/packet.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { NetDevice } from './net.ts'
import { CtrlAck, CtrlClass, NetFeature } from './protocol.ts'
import { HeldPort } from './testing/held-port.ts'
import { frame, type HeaderFields, header, NetDriver, STATION_TEXT } from './testing/net-driver.ts'

const ALL = 127
const { NEEDS_CSUM, DATA_VALID } = HeaderFlag
const { GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, GUEST_UFO, GUEST_USO4, GUEST_ECN, MRG_RXBUF, MTU } = NetFeature
const TSO = { flags: NEEDS_CSUM, gsoType: GsoType.TCPV4, gsoSize: 1448, hdrLen: 54, csumStart: 34, csumOffset: 16 }

function rig(options: ConstructorParameters<typeof HeldPort>[0] = {}, features?: readonly number[], queueSize = 256) {
  const port = new HeldPort(options)
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const driver = new NetDriver(device, {
    queueSize,
    ...(features && { features: featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, ...features) }),
  })
  return { port, device, driver, received: device.counters.received }
}

test('a packet is written to the first buffer, header first, with num_buffers 1  @virtio 5.1.6.4.1', () => {
  const { port, driver } = rig()
  driver.post([1526, 1526])
  port.arrive(frame(60, 1))
  port.arrive(frame(1514, 2))
  assert.deepEqual(driver.received(), [
    { header: header({ numBuffers: 1 }), frame: frame(60, 1), buffers: [72] },
    { header: header({ numBuffers: 1 }), frame: frame(1514, 2), buffers: [1526] },
  ])
})

test('a packet waits in the port until there are buffers', () => {
  const { port, driver } = rig()
  port.arrive(frame(60, 1))
  port.arrive(frame(60, 2))
  assert.equal(port.waiting(), 2)
  assert.equal(port.asked, 0)
  driver.post([200])
  assert.equal(port.waiting(), 1)
  driver.post([200])
  assert.deepEqual(
    driver.received().map((packet) => packet.frame),
    [frame(60, 1), frame(60, 2)],
  )
})

test('a merged packet fills every buffer except the last  @virtio 5.1.6.4.1', () => {
  const { port, driver, received } = rig({ offloads: ALL })
  driver.post([100, 12, [7, 5, 60], 3000, 500])
  port.arrive(frame(700, 1), header(TSO))
  const [packet] = driver.received()
  assert.deepEqual(packet.buffers, [100, 12, 72, 528])
  assert.deepEqual(packet.header, header({ ...TSO, numBuffers: 4 }))
  assert.deepEqual(packet.frame, frame(700, 1))
  assert.equal(received.merged, 1)
  port.arrive(frame(400, 2))
  assert.deepEqual(driver.received()[0].buffers, [412])
})

test('a long packet is merged without segmentation offloads too  @virtio 5.1.6.4.1', () => {
  const { port, driver } = rig()
  driver.post(new Array(20).fill(100))
  port.arrive(frame(300, 1))
  port.arrive(frame(1000, 2))
  const packets = driver.received()
  assert.deepEqual(
    packets.map(({ buffers }) => buffers.length),
    [4, 11],
  )
  assert.deepEqual(
    packets.map((packet) => packet.frame),
    [frame(300, 1), frame(1000, 2)],
  )
})

test('a packet waits for its remaining buffers, and later packets wait behind it', () => {
  const { port, driver, received } = rig({ offloads: ALL })
  driver.post([100, 100])
  port.arrive(frame(500, 1), header(TSO))
  port.arrive(frame(60, 2))
  assert.deepEqual(driver.received(), [])
  assert.equal(received.starved, 1)
  driver.post([100, 20])
  assert.deepEqual(driver.received(), [])
  driver.post([150, 100, 100])
  assert.deepEqual(driver.received(), [
    { header: header({ ...TSO, numBuffers: 6 }), frame: frame(500, 1), buffers: [100, 100, 100, 20, 150, 42] },
    { header: header({ numBuffers: 1 }), frame: frame(60, 2), buffers: [72] },
  ])
})

test('a packet that is too long for all buffers of the queue is dropped, and later ones are received', () => {
  const { port, driver, received } = rig({ offloads: ALL }, undefined, 4)
  driver.post([100, 100, 100])
  port.arrive(frame(1000, 1), header(TSO))
  assert.equal(received.noRoom, 0)
  driver.post([100])
  assert.equal(received.noRoom, 1)
  port.arrive(frame(300, 2), header(TSO))
  port.arrive(frame(30, 3))
  assert.deepEqual(
    driver.received().map((packet) => packet.frame),
    [frame(300, 2)],
  )
  driver.post([100])
  assert.equal(driver.received().length, 1)
})

test('the largest packet is received complete, in one large buffer or in many small ones  @virtio 5.1.6.3', () => {
  const bytes = frame(MAX_FRAME_BYTES, 5)
  const { port, driver } = rig({ offloads: ALL })
  driver.post(new Array(50).fill(1536))
  port.arrive(bytes, header(TSO))
  assert.deepEqual(driver.received()[0].frame, bytes)

  const big = rig({ offloads: ALL }, [GUEST_CSUM, GUEST_TSO4])
  big.driver.post([new Array(17).fill(4096)])
  big.port.arrive(bytes, header(TSO))
  assert.deepEqual(big.driver.received(), [
    { header: header({ ...TSO, numBuffers: 1 }), frame: bytes, buffers: [65605] },
  ])
})

test('without merging, a packet longer than its buffer is dropped, and the buffer is reused  @virtio 5.1.6.3.2', () => {
  const { port, driver, received } = rig({}, [])
  driver.post([100, 100])
  port.arrive(frame(89, 1))
  port.arrive(frame(88, 2))
  assert.equal(received.noRoom, 1)
  assert.deepEqual(driver.received(), [{ header: header({ numBuffers: 1 }), frame: frame(88, 2), buffers: [100] }])
})

test('buffers shorter than a header are returned with length 0  @virtio 5.1.6.3.1', () => {
  for (const features of [[MRG_RXBUF], []]) {
    const { port, driver, received } = rig({}, features)
    driver.post([11, 0, 200])
    driver.rig.submit(0, [[1, 2, 3]])
    port.arrive(frame(60, 1))
    assert.equal(received.badBuffers, 3)
    assert.deepEqual(driver.received()[0].frame, frame(60, 1))
    driver.post([200])
    port.arrive(frame(60, 2))
    assert.deepEqual(driver.received()[0].frame, frame(60, 2))
  }
})

test('a buffer with too many spans is returned with length 0, one with many spans is filled', () => {
  const { port, driver, received } = rig()
  driver.post([new Array(501).fill(4), new Array(500).fill(4)], 0, 'indirect')
  port.arrive(frame(1514, 1))
  assert.equal(received.badBuffers, 1)
  assert.deepEqual(driver.received()[0].frame, frame(1514, 1))
})

test('device-readable parts of a chain are not written', () => {
  const { port, driver } = rig()
  const request = driver.rig.submit(0, [[1, 2, 3]], [200])
  port.arrive(frame(60, 1))
  assert.deepEqual(request.reply?.bytes.subarray(12), frame(60, 1))
})

test('frames shorter than an Ethernet header, or longer than the MTU, are dropped  @virtio 5.1.4.1', () => {
  const { port, driver, received } = rig({ mtu: 1500, offloads: ALL })
  driver.post([2000, 2000, 2000])
  port.arrive(frame(13, 1))
  port.arrive(new Uint8Array(0))
  port.arrive(frame(1515, 1))
  assert.equal(received.badLength, 3)
  port.arrive(frame(1514, 1))
  port.arrive(frame(1600, 1), header(TSO))
  assert.equal(driver.received().length, 2)
  const plain = rig({ mtu: 1500 }, [MRG_RXBUF])
  plain.driver.post([2000])
  plain.port.arrive(frame(1515, 1))
  assert.equal(plain.driver.received().length, 1, 'a driver without the MTU feature')
})

const KINDS: readonly (readonly [name: string, fields: HeaderFields, needs: readonly number[]])[] = [
  ['a partial checksum', { flags: NEEDS_CSUM, csumStart: 34, csumOffset: 16 }, [GUEST_CSUM]],
  ['TCP over IPv4', TSO, [GUEST_CSUM, GUEST_TSO4]],
  ['TCP over IPv6', { ...TSO, gsoType: GsoType.TCPV6 }, [GUEST_CSUM, GUEST_TSO6]],
  ['UDP to be fragmented', { ...TSO, gsoType: GsoType.UDP }, [GUEST_CSUM, GUEST_UFO]],
  ['UDP to be segmented', { ...TSO, gsoType: GsoType.UDP_L4 }, [GUEST_CSUM, GUEST_USO4]],
  ['marked TCP', { ...TSO, gsoType: GsoType.TCPV4 | GsoType.ECN }, [GUEST_CSUM, GUEST_TSO4, GUEST_ECN]],
]
for (const [name, fields, needs] of KINDS) {
  test(`${name} is delivered only if the driver negotiated it  @virtio 5.1.6.4.1`, () => {
    const agreed = rig({ offloads: ALL }, [MRG_RXBUF, ...needs])
    agreed.driver.post([2000])
    agreed.port.arrive(frame(900, 1), header(fields))
    assert.deepEqual(agreed.driver.received()[0].header, header({ ...fields, numBuffers: 1 }))

    const refused = rig({ offloads: ALL }, [MRG_RXBUF, ...needs.slice(0, -1)])
    refused.driver.post([2000])
    refused.port.arrive(frame(900, 1), header(fields))
    assert.equal(refused.driver.received().length, 0)
    assert.equal(refused.received.badHeader, 1)
  })
}

test('DATA_VALID is delivered only with GUEST_CSUM  @virtio 5.1.6.4.1', () => {
  for (const [features, flags] of [
    [[GUEST_CSUM], DATA_VALID],
    [[], 0],
  ] as const) {
    const { port, driver } = rig({ offloads: ALL }, features)
    driver.post([2000])
    port.arrive(frame(60, 1), header({ flags: DATA_VALID | 0xf8 }))
    assert.deepEqual(driver.received()[0].header, header({ flags, numBuffers: 1 }))
  }
})

test('the port is notified of the receive offloads, at the start and when they change  @virtio 5.1.6.5.8', () => {
  const { port, driver } = rig({ offloads: ALL }, [
    GUEST_CSUM,
    GUEST_TSO4,
    MTU,
    NetFeature.CTRL_VQ,
    NetFeature.CTRL_GUEST_OFFLOADS,
  ])
  assert.equal(port.offloadsInUse, 3)
  assert.equal(driver.command(CtrlClass.GUEST_OFFLOADS, 0, [2, 0, 0, 0, 0, 0, 0, 0]), CtrlAck.OK)
  assert.equal(port.offloadsInUse, 1)
  driver.post([2000, 2000])
  port.arrive(frame(900, 1), header(TSO))
  assert.equal(driver.received().length, 0)
})

test('a reset and a queue reset make held buffers available again, and drop the packet that waits for more', async () => {
  const { port, device, driver } = rig({ offloads: ALL })
  driver.post([100, 100])
  port.arrive(frame(1000, 1), header(TSO))
  assert.equal(driver.rig.rigs[0].pending, 2)
  device.stopQueue(0)
  assert.deepEqual(driver.rig.rigs[0].queue.position, { available: 0, used: 0, inFlight: 0 })
  driver.post([2000])
  port.arrive(frame(60, 2))
  assert.deepEqual(driver.received()[0].frame, frame(60, 2))
  driver.post([100, 100])
  port.arrive(frame(1000, 3), header(TSO))
  await driver.rig.reset()
  assert.equal(driver.rig.rigs[0].queue.position.inFlight, 0)
  port.arrive(frame(60, 4))
  assert.equal(port.waiting(), 1, 'no queue receives it')
})

test('packets of a pair whose queue is reset are received by another queue  @virtio 5.1.6.5.6.2', () => {
  const { port, device, driver } = rig({ pairs: 2 })
  driver.command(CtrlClass.MQ, 0, [2, 0])
  driver.post([200, 200])
  driver.post([200, 200], 1)
  device.stopQueue(2)
  driver.rig.queues[2] = undefined
  port.arrive(frame(60, 1), header(), 1)
  assert.deepEqual(driver.received(0)[0].frame, frame(60, 1))
  driver.rig.queues[0] = undefined
  port.arrive(frame(60, 2), header(), 1)
  assert.equal(port.waiting(1), 1)
  driver.rig.queues[0] = driver.rig.rigs[0].queue
  device.notify(0)
  assert.deepEqual(driver.received(0)[0].frame, frame(60, 2))
})
