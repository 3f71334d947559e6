import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GsoType, HeaderFlag, MAX_FRAME_BYTES } from '../../../services/packet.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import type { Layout } from '../../../virtqueue/driver/index.ts'
import { NetDevice } from './net.ts'
import { NetFeature } from './protocol.ts'
import { HeldPort } from './testing/held-port.ts'
import { frame, header, NetDriver, STATION_TEXT } from './testing/net-driver.ts'

const layout = fc.constantFrom<Layout>('direct', 'indirect')
/** Header that is usually invalid. */
const lies = fc.record({
  flags: fc.nat(255),
  gsoType: fc.oneof(fc.constantFrom(...Object.values(GsoType)), fc.nat(255)),
  hdrLen: fc.nat(65535),
  gsoSize: fc.nat(65535),
  csumStart: fc.oneof(fc.nat(200), fc.nat(65535)),
  csumOffset: fc.oneof(fc.nat(40), fc.nat(65535)),
  numBuffers: fc.nat(65535),
})

for (const ring of [0n, featureSet(Feature.RING_PACKED)]) {
  const name = ring === 0n ? 'split' : 'packed'
  test(`every packet that reaches the port has a valid header, whatever the driver sends (${name})`, () => {
    const packets = fc.array(
      fc.record({
        lies,
        frame: fc.uint8Array({ maxLength: 90 }),
        cuts: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 5 }),
        bare: fc.boolean(),
        layout,
      }),
      { maxLength: 20 },
    )
    fc.assert(
      fc.property(packets, fc.bigInt({ min: 0n, max: (1n << 24n) - 1n }), (list, accepted) => {
        const port = new HeldPort({ offloads: 127, mtu: 100 })
        const device = new NetDevice(port)
        const features = (device.features & accepted) | ring | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
        const driver = new NetDriver(device, { features, memorySize: 1 << 20 })
        for (const packet of list) {
          if (packet.bare) assert.ok(driver.rig.submit(1, [packet.frame], [], packet.layout).reply)
          else assert.ok(driver.send(packet.frame, header(packet.lies), packet.cuts, 0, packet.layout).reply)
        }
        for (const { header: claims, frame: bytes } of port.sent) {
          const view = new DataView(claims.buffer)
          assert.ok(bytes.length >= 14)
          assert.equal(claims[0] & ~HeaderFlag.NEEDS_CSUM, 0)
          assert.ok(view.getUint16(2, true) <= bytes.length)
          assert.equal(view.getUint16(10, true), 0)
          if (claims[0] !== 0) {
            assert.ok(view.getUint16(6, true) + view.getUint16(8, true) + 2 <= bytes.length)
            assert.ok((accepted & 1n) === 1n || (accepted & featureSet(11, 12, 13, 14)) !== 0n)
          }
          if (claims[1] !== GsoType.NONE) assert.ok(claims[0] === 1 && view.getUint16(4, true) > 0)
        }
        const before = port.sent.length
        driver.send(frame(60, 1))
        assert.equal(port.sent.length, before + 1)
        assert.deepEqual(driver.rig.failures, [])
      }),
      { numRuns: 150 },
    )
  })

  test(`packets arrive complete or not at all, whatever buffers the driver adds (${name})`, () => {
    const buffers = fc.array(fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 4 }), {
      maxLength: 12,
    })
    const step = fc.record({ buffers, length: fc.integer({ min: 0, max: 600 }), lies, layout, honest: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.boolean(), (list, merging) => {
        const port = new HeldPort({ offloads: 127 })
        const device = new NetDevice(port, { mac: STATION_TEXT })
        const all = device.features | ring | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
        const features = merging ? all : all & ~featureSet(NetFeature.MRG_RXBUF)
        const driver = new NetDriver(device, { features, memorySize: 2 << 20 })
        const arrived: Uint8Array[] = []
        let came = 0
        list.forEach((wanted, seed) => {
          if (driver.rig.rigs[0].driver.free > 50) driver.post(wanted.buffers, 0, wanted.layout)
          const bytes = frame(wanted.length, seed)
          arrived.push(bytes)
          port.arrive(bytes, wanted.honest ? header() : header(wanted.lies))
          for (const packet of driver.received()) {
            // In order, without the packets that were dropped.
            while (came < arrived.length && !same(arrived[came], packet.frame)) came++
            assert.ok(came++ < arrived.length, 'a packet that was not sent')
            if (!merging) assert.equal(packet.buffers.length, 1)
          }
        })
        assert.deepEqual(driver.rig.failures, [])
        assert.equal(driver.rig.rigs[0].broken, undefined)
      }),
      { numRuns: 150 },
    )
  })
}

test('a packet of the port with an impossible length is dropped', () => {
  const port = new HeldPort()
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const driver = new NetDriver(device)
  driver.post([200])
  const lengths = [12 + MAX_FRAME_BYTES + 1, 1, 2 ** 32, 0]
  port.receive = () => lengths.shift() ?? 0
  port.tell()
  assert.equal(device.counters.received.badLength, 3)
  assert.equal(driver.rig.rigs[0].pending, 1)
})

test('an endless stream of filtered packets does not stall the device', () => {
  const port = new HeldPort()
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const driver = new NetDriver(device)
  driver.post([200])
  let asked = 0
  port.receive = (_pair, packet) => {
    // Sent to a group of which the driver is not a member.
    packet.regions[1].u8[packet.offsets[1]] = 1
    return ++asked > 100_000 ? 0 : 72
  }
  port.tell()
  assert.ok(asked < 1000)
  assert.ok(driver.send(frame(60, 1)).reply)
  const before = asked
  assert.ok(port.tell(), 'the device expects the rest')
  assert.ok(asked > before)
})

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
