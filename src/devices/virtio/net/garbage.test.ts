import assert from 'node:assert/strict'
import { test } from 'node:test'
import { garbage, NOISE } from '../../../../test/garbage.ts'
import type { SpanList } from '../../../memory/span-list.ts'
import { HEADER_BYTES } from '../../../services/packet.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import type { Part } from '../../../virtqueue/driver/index.ts'
import { NetDevice } from './net.ts'
import { NetFeature } from './protocol.ts'
import { HeldPort } from './testing/held-port.ts'
import { BROADCAST, NetDriver } from './testing/net-driver.ts'

const ROUNDS = 4000
const FRAME_BYTES = 4000
const BUFFER_BYTES = 1536

/** Port that takes every packet, and has a settable number of packets to receive. */
class EndlessPort extends HeldPort {
  due = 0
  taken = 0

  override transmit(): boolean {
    this.taken++
    return true
  }

  override receive(_pair: number, packet: SpanList): number {
    if (this.due === 0) return 0
    this.due--
    const { regions, offsets } = packet
    regions[0].u8.fill(0, 0, HEADER_BYTES)
    for (let i = 0; i < BROADCAST.length; i++) regions[1].u8[offsets[1] + i] = BROADCAST[i]
    return HEADER_BYTES + FRAME_BYTES
  }
}

for (const ring of ['split', 'packed'] as const) {
  test(`packets in a steady state allocate no memory, in both directions, merged and not (${ring})`, () => {
    const port = new EndlessPort({ offloads: 127 })
    const device = new NetDevice(port)
    const base = featureSet(Feature.VERSION_1, Feature.EVENT_IDX) | device.features
    const features = ring === 'packed' ? base | featureSet(Feature.RING_PACKED) : base
    const { rig } = new NetDriver(device, { features: features & ~featureSet(NetFeature.CTRL_RX) })
    const part = (length: number): Part => ({ address: rig.allocator.allocate(length), length })
    const [receiveq, transmitq] = rig.rigs.map(({ driver }) => driver)
    const empty: Part[] = []
    const buffer = [part(BUFFER_BYTES)]
    const packet = [part(HEADER_BYTES), part(1514)]
    const run = () => {
      for (let round = 0; round < ROUNDS; round++) {
        while (receiveq.pending < 64) receiveq.add(empty, buffer)
        for (let i = 0; i < 4; i++) transmitq.add(packet, empty)
        receiveq.kick()
        transmitq.kick()
        port.due = 4
        device.notify(0)
        device.notify(1)
        while (receiveq.collect());
        while (transmitq.collect());
      }
    }
    run()
    assert.ok(garbage(run) < NOISE)
    assert.equal(device.counters.received.packets % (4 * ROUNDS), 0)
    assert.equal(device.counters.received.merged, device.counters.received.packets)
    assert.equal(port.taken, device.counters.received.packets)
  })
}
