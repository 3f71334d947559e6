import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { createNetworkLink } from '../../../backends/net/network-link.ts'
import { GsoType, HEADER_BYTES, HeaderFlag } from '../../../services/packet.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import type { Layout } from '../../../virtqueue/driver/index.ts'
import { NetDevice } from './net.ts'
import { NetFeature } from './protocol.ts'
import { frame, header, NetDriver, type ReceivedPacket } from './testing/net-driver.ts'

const ALL = 127

/** Packet from one device to the other, and buffers that the receiving driver adds meanwhile. */
interface Step {
  readonly fromLeft: boolean
  readonly length: number
  readonly segments: boolean
  readonly cuts: readonly number[]
  readonly layout: Layout
  readonly buffers: readonly number[]
}

function steps(longest: number, smallest: number) {
  return fc.array(
    fc.record<Step>({
      fromLeft: fc.boolean(),
      length: fc.oneof(fc.integer({ min: 14, max: 1514 }), fc.integer({ min: 14, max: longest })),
      segments: fc.boolean(),
      cuts: fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 5 }),
      layout: fc.constantFrom<Layout>('direct', 'indirect'),
      buffers: fc.array(fc.integer({ min: smallest, max: smallest + 2000 }), { maxLength: 6 }),
    }),
    { maxLength: 25 },
  )
}

const RINGS = {
  split: 0n,
  'split, event indices': featureSet(Feature.EVENT_IDX),
  packed: featureSet(Feature.RING_PACKED),
  'packed, in order': featureSet(Feature.RING_PACKED, Feature.IN_ORDER, Feature.EVENT_IDX),
}

for (const [ring, ringFeatures] of Object.entries(RINGS)) {
  for (const merging of [true, false]) {
    const name = `${ring}, ${merging ? 'merging' : 'one buffer a packet'}`
    test(`two connected devices receive the packets of each other unchanged and in order: ${name}`, async () => {
      // Without merging, each buffer must have room for the longest packet.
      const longest = merging ? 20_000 : 4000
      const smallest = merging ? HEADER_BYTES : HEADER_BYTES + longest
      await fc.assert(
        fc.asyncProperty(steps(longest, smallest), async (list) => {
          const ends = createNetworkLink({ offloads: ALL }).map((port) => {
            const device = new NetDevice(port)
            const features = device.features | ringFeatures | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
            const driver = new NetDriver(device, {
              features: merging ? features : features & ~featureSet(NetFeature.MRG_RXBUF),
              memorySize: 4 << 20,
            })
            driver.rig.send(2, [[0, 0, 1]], [1])
            return { device, driver, sent: [] as { header: Uint8Array; frame: Uint8Array }[] }
          })
          const got: ReceivedPacket[][] = [[], []]
          const collect = () => {
            ends.forEach(({ driver }, side) => {
              got[side].push(...driver.received())
            })
          }
          let seed = 0
          for (const step of list) {
            const [sender, receiver] = step.fromLeft ? ends : [...ends].reverse()
            if (receiver.driver.rig.rigs[0].driver.free > step.buffers.length) receiver.driver.post(step.buffers)
            const bytes = frame(step.length, seed++)
            const claims = { flags: HeaderFlag.NEEDS_CSUM, csumStart: 0, csumOffset: 12, hdrLen: 14 }
            const packetHeader = step.segments ? header({ ...claims, gsoType: GsoType.TCPV4, gsoSize: 9 }) : header()
            sender.driver.send(bytes, packetHeader, step.cuts, 0, step.layout)
            sender.sent.push({ header: packetHeader, frame: bytes })
            if ((seed & 3) === 0) await setImmediate()
            collect()
          }
          // Adds buffers until all packets have arrived: each received packet makes room for the next.
          for (let round = 0; round < 400 && got[0].length + got[1].length < seed; round++) {
            for (const { driver } of ends) {
              const buffer = merging ? 1500 : smallest
              if (driver.rig.rigs[0].driver.free > 2) driver.post([buffer])
            }
            await setImmediate()
            collect()
          }
          ends.forEach(({ device, driver, sent }, side) => {
            const expected = ends[1 - side].sent
            assert.deepEqual(
              got[side].map((packet) => packet.frame),
              expected.map((packet) => packet.frame),
            )
            got[side].forEach((packet, i) => {
              const claimed = expected[i].header
              claimed[HEADER_BYTES - 2] = packet.buffers.length
              assert.deepEqual(packet.header, claimed)
              if (!merging) assert.equal(packet.buffers.length, 1)
            })
            assert.equal(device.counters.sent.packets, sent.length)
            assert.deepEqual(driver.rig.failures, [])
            assert.equal(driver.rig.rigs[1].pending, 0)
          })
        }),
        { numRuns: 20 },
      )
    })
  }
}
