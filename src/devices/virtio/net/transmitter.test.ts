import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GsoType, HeaderFlag, MAX_FRAME_BYTES } from '../../../services/packet.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { NetDevice } from './net.ts'
import { NetFeature } from './protocol.ts'
import { HeldPort } from './testing/held-port.ts'
import { frame, type HeaderFields, header, NetDriver } from './testing/net-driver.ts'

const ALL = 127
const { NEEDS_CSUM, DATA_VALID } = HeaderFlag

function rig(options: ConstructorParameters<typeof HeldPort>[0] = {}, features?: bigint) {
  const port = new HeldPort(options)
  const device = new NetDevice(port)
  const driver = new NetDriver(device, features === undefined ? {} : { features })
  return { port, device, driver }
}

test('a packet is sent unchanged, whatever its descriptors are  @virtio 5.1.6.2', () => {
  for (const layout of ['direct', 'indirect', 'mixed'] as const) {
    const { port, device, driver } = rig()
    const bytes = frame(1514, 3)
    for (const cuts of [[], [12], [1, 2, 3, 4], [5, 7, 1], [12, 14, 20, 20], [11, 2]]) {
      const request = driver.send(bytes, header(), cuts, 0, layout)
      assert.equal(request.reply?.written, 0)
      assert.deepEqual(port.sent.pop(), { pair: 0, header: header(), frame: bytes })
    }
    assert.equal(device.counters.sent.packets, 6)
    assert.equal(device.counters.sent.bytes, 6 * 1514)
  }
})

test('packets wait in order while the port has no room, and keep their buffers', () => {
  const { port, device, driver } = rig()
  port.room = 1
  const requests = [1, 2, 3].map((seed) => driver.send(frame(60, seed)))
  assert.deepEqual(
    requests.map(({ reply }) => reply !== undefined),
    [true, false, false],
  )
  assert.equal(device.counters.sent.waits, 1)
  port.listener?.writable(0)
  assert.equal(requests[1].reply, undefined, 'still full')
  port.room = 5
  port.listener?.writable(0)
  assert.ok(requests.every(({ reply }) => reply))
  assert.deepEqual(
    port.sent.map((packet) => packet.frame),
    [1, 2, 3].map((seed) => frame(60, seed)),
  )
  assert.equal(device.counters.sent.waits, 1)
})

test('waiting packets are dropped when the link goes down', () => {
  const { port, device, driver } = rig()
  port.room = 0
  const request = driver.send(frame(60, 1))
  port.setLink(false)
  assert.ok(request.reply)
  port.room = 9
  port.setLink(true)
  driver.send(frame(60, 2))
  assert.deepEqual(
    port.sent.map((packet) => packet.frame),
    [frame(60, 2)],
  )
  assert.equal(device.counters.sent.linkDown, 1)
})

test('the waiting packet of a stopped queue is sent when the queue continues', () => {
  const { port, device, driver } = rig()
  const { queue } = driver.rig.rigs[1]
  port.room = 0
  driver.send(frame(60, 1))
  queue.open = false
  device.stopQueue(1)
  assert.equal(queue.position.inFlight, 0)
  port.room = 1
  port.listener?.writable(0)
  assert.equal(port.sent.length, 0)
  queue.open = true
  device.notify(1)
  assert.deepEqual(port.sent[0].frame, frame(60, 1))
})

const CLAIMS: readonly (readonly [what: string, length: number, fields: HeaderFields])[] = [
  ['a checksum past the end', 60, { flags: NEEDS_CSUM, csumStart: 50, csumOffset: 9 }],
  ['a checksum far away', 60, { flags: NEEDS_CSUM, csumStart: 0xffff, csumOffset: 0xffff }],
  ['an unknown segmentation', 900, { flags: NEEDS_CSUM, gsoType: 2, gsoSize: 100 }],
  ['a reserved segmentation', 900, { flags: NEEDS_CSUM, gsoType: 0x41, gsoSize: 100 }],
  ['segments without a checksum', 900, { gsoType: GsoType.TCPV4, gsoSize: 100 }],
  ['segment size 0', 900, { flags: NEEDS_CSUM, gsoType: GsoType.TCPV4 }],
  ['congestion marks and nothing to segment', 900, { flags: NEEDS_CSUM, gsoType: GsoType.ECN, gsoSize: 100 }],
  ['congestion marks in UDP', 900, { flags: NEEDS_CSUM, gsoType: GsoType.UDP | GsoType.ECN, gsoSize: 100 }],
]
for (const [what, length, fields] of CLAIMS) {
  test(`a packet whose header has ${what} is dropped, and later ones are sent  @virtio 5.1.6.2.1`, () => {
    const { port, device, driver } = rig({ offloads: ALL })
    assert.ok(driver.send(frame(length, 1), header(fields)).reply)
    assert.equal(port.sent.length, 0)
    assert.equal(device.counters.sent.badHeader, 1)
    driver.send(frame(length, 2))
    assert.equal(port.sent.length, 1)
  })
}

test('each kind of segmentation is accepted only if it was negotiated  @virtio 5.1.6.2.1', () => {
  const { HOST_TSO4, HOST_TSO6, HOST_UFO, HOST_USO, HOST_ECN, CSUM } = NetFeature
  const kinds: readonly (readonly [number, number])[] = [
    [GsoType.TCPV4, HOST_TSO4],
    [GsoType.TCPV6, HOST_TSO6],
    [GsoType.UDP, HOST_UFO],
    [GsoType.UDP_L4, HOST_USO],
  ]
  for (const [gsoType, feature] of kinds) {
    const fields = { flags: NEEDS_CSUM, gsoType, gsoSize: 1448, hdrLen: 54, csumStart: 34, csumOffset: 16 }
    const agreed = rig({ offloads: ALL }, featureSet(Feature.VERSION_1, CSUM, feature))
    agreed.driver.send(frame(9000, 1), header(fields))
    assert.deepEqual(agreed.port.sent, [{ pair: 0, header: header(fields), frame: frame(9000, 1) }])
    const marked = { ...fields, gsoType: gsoType | GsoType.ECN }
    agreed.driver.send(frame(9000, 1), header(marked))
    assert.equal(agreed.port.sent.length, 1, 'marks were not agreed')

    const others = kinds.map(([, other]) => other).filter((other) => other !== feature)
    const refused = rig({ offloads: ALL }, featureSet(Feature.VERSION_1, CSUM, HOST_ECN, ...others))
    refused.driver.send(frame(9000, 1), header(fields))
    assert.equal(refused.port.sent.length, 0)
  }
  const ecn = rig({ offloads: ALL }, featureSet(Feature.VERSION_1, CSUM, HOST_TSO4, HOST_ECN))
  ecn.driver.send(frame(9000, 1), header({ flags: NEEDS_CSUM, gsoType: GsoType.TCPV4 | GsoType.ECN, gsoSize: 9 }))
  assert.equal(ecn.port.sent.length, 1)
})

test('a packet with a partial checksum is dropped without CSUM  @virtio 5.1.6.2.1', () => {
  const { port, driver } = rig()
  driver.send(frame(60, 1), header({ flags: NEEDS_CSUM, csumStart: 34, csumOffset: 16 }))
  assert.equal(port.sent.length, 0)
})

test('header fields without a meaning are cleared for the port  @virtio 5.1.6.2.2', () => {
  const { port, driver } = rig({ offloads: ALL })
  const flags = 0xfc | DATA_VALID
  driver.send(
    frame(60, 1),
    header({ flags, hdrLen: 0xffff, gsoSize: 77, csumStart: 5, csumOffset: 6, numBuffers: 900 }),
  )
  assert.deepEqual(port.sent[0].header, header({ hdrLen: 60 }))
})

test('packets that are too short, too long or have too many spans are dropped', () => {
  const { port, device, driver } = rig()
  const huge = new Uint8Array(MAX_FRAME_BYTES + 1)
  for (const bytes of [new Uint8Array(0), new Uint8Array(13), huge]) {
    assert.ok(driver.send(bytes).reply)
  }
  for (const parts of [[[]], [[1, 2, 3]], [new Uint8Array(12)]]) {
    assert.ok(driver.rig.submit(1, parts).reply)
  }
  assert.ok(driver.rig.submit(1, [], [64]).reply, 'nothing to read')
  const pieces = Array.from({ length: 1024 }, () => [0])
  assert.ok(driver.rig.submit(1, pieces, [], 'indirect').reply)
  assert.equal(port.sent.length, 0)
  assert.equal(device.counters.sent.badLength, 8)
  driver.rig.submit(1, pieces.slice(1), [], 'indirect')
  assert.equal(port.sent.length, 1)
  driver.send(huge.subarray(1))
  assert.equal(port.sent.length, 2)
  assert.deepEqual(driver.rig.failures, [])
})

test('a frame longer than the MTU is dropped, unless it is segmented or tagged  @virtio 5.1.4.2', () => {
  const { port, driver } = rig({ mtu: 1500, offloads: ALL })
  driver.send(frame(1514, 1))
  driver.send(frame(1515, 1))
  assert.equal(port.sent.length, 1)
  const tagged = frame(1518, 1)
  tagged.set([0x81, 0x00], 12)
  driver.send(tagged, header(), [3, 9, 8, 5])
  assert.deepEqual(port.sent[1].frame, tagged)
  const longer = Uint8Array.of(...tagged, 0)
  driver.send(longer)
  assert.equal(port.sent.length, 2)
  driver.send(frame(5000, 1), header({ flags: NEEDS_CSUM, gsoType: GsoType.TCPV4, gsoSize: 1448 }))
  assert.equal(port.sent.length, 3)
})

test('device-writable parts of a transmitted packet are ignored', () => {
  const { port, driver } = rig()
  const request = driver.rig.submit(1, [header(), frame(60, 1)], [16])
  assert.equal(request.reply?.written, 0)
  assert.deepEqual(request.reply?.parts[0], new Uint8Array(16))
  assert.equal(port.sent.length, 1)
})
