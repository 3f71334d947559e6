import type { NetDevice } from '../../src/devices/virtio/net/net.ts'
import { CtrlClass, CtrlRx, NetFeature } from '../../src/devices/virtio/net/protocol.ts'
import type { ReceivedPacket } from '../../src/devices/virtio/net/testing/net-driver.ts'
import type { Reactor } from '../../src/host/linux/reactor/reactor.ts'
import { GsoType } from '../../src/services/packet.ts'
import { Feature, featureSet } from '../../src/virtio/feature.ts'
import { Guest } from './guest.ts'

/** Counters of a bridge, for each side. */
interface BridgeCounters {
  readonly packets: [number, number]
  /** Packets for segmentation, and packets in several buffers. */
  readonly segmented: [number, number]
  readonly merged: [number, number]
}

/**
 * The drivers of two devices, of which each sends what the other gets. Neither agrees to an offload that the other
 * cannot ask for.
 */
export function bridge(devices: readonly [NetDevice, NetDevice], reactor: Reactor) {
  const { CSUM, GUEST_CSUM, HOST_TSO4, GUEST_TSO4, HOST_TSO6, GUEST_TSO6 } = NetFeature
  const offered = devices[0].features & devices[1].features
  const others = featureSet(CSUM, GUEST_CSUM, HOST_TSO4, GUEST_TSO4, HOST_TSO6, GUEST_TSO6)
  const plain = featureSet(Feature.VERSION_1, NetFeature.MRG_RXBUF, NetFeature.CTRL_VQ, NetFeature.CTRL_RX)
  const guests = devices.map((device) => new Guest(device, (offered & others) | plain))
  for (const { driver } of guests) driver.command(CtrlClass.RX, CtrlRx.PROMISC, [1])
  const counters: BridgeCounters = { packets: [0, 0], segmented: [0, 0], merged: [0, 0] }
  /** Received packets of each side that the other has no descriptors to send yet. */
  const waiting: [ReceivedPacket[], ReceivedPacket[]] = [[], []]
  const hook = reactor.onTurn(() => {
    guests.forEach((guest, side) => {
      const { driver } = guests[1 - side]
      // Further packets are received after these are sent.
      const packets = waiting[side].length > 0 ? waiting[side] : guest.take()
      waiting[side] = packets
      while (packets.length > 0 && driver.rig.rigs[1].driver.free > 0) {
        const [packet] = packets.splice(0, 1)
        counters.packets[side]++
        if (packet.header[1] !== GsoType.NONE) counters.segmented[side]++
        if (packet.buffers.length > 1) counters.merged[side]++
        driver.send(packet.frame, packet.header)
      }
    })
    return undefined
  })
  return { counters, close: () => hook.close() }
}
