import { type NetworkPort, Offload } from '../../../services/network-port.ts'
import { featureSet, hasFeature } from '../../../virtio/feature.ts'
import {
  CONFIG_DUPLEX,
  CONFIG_MAC,
  CONFIG_MAX_VIRTQUEUE_PAIRS,
  CONFIG_MTU,
  CONFIG_SPEED,
  CONFIG_STATUS,
  DUPLEX_FULL,
  DUPLEX_UNKNOWN,
  NetFeature,
  SPEED_UNKNOWN,
} from './protocol.ts'

/** Features of transmitted packets, and the `Offload`s that the port must support for each. */
const HOST_OFFLOADS: readonly (readonly [feature: number, needs: number])[] = [
  [NetFeature.CSUM, Offload.CSUM],
  [NetFeature.HOST_TSO4, Offload.CSUM | Offload.TSO4],
  [NetFeature.HOST_TSO6, Offload.CSUM | Offload.TSO6],
  [NetFeature.HOST_UFO, Offload.CSUM | Offload.UFO],
  [NetFeature.HOST_USO, Offload.CSUM | Offload.USO4 | Offload.USO6],
  [NetFeature.HOST_ECN, Offload.CSUM | Offload.ECN],
]

/** Features of received packets, and the `Offload` that each lets the port leave to the driver. */
export const GUEST_OFFLOADS: readonly (readonly [feature: number, offload: number])[] = [
  [NetFeature.GUEST_CSUM, Offload.CSUM],
  [NetFeature.GUEST_TSO4, Offload.TSO4],
  [NetFeature.GUEST_TSO6, Offload.TSO6],
  [NetFeature.GUEST_UFO, Offload.UFO],
  [NetFeature.GUEST_USO4, Offload.USO4],
  [NetFeature.GUEST_USO6, Offload.USO6],
  [NetFeature.GUEST_ECN, Offload.ECN],
]

/**
 * Pairs of features of which the first requires the second. ECN requires one of two features (either kind of TCP
 * segmentation), so it is not listed; without both of them it has no effect. @virtio 5.1.3.1
 */
export const FEATURE_DEPENDENCIES: readonly (readonly [feature: number, requires: number])[] = [
  [NetFeature.GUEST_TSO4, NetFeature.GUEST_CSUM],
  [NetFeature.GUEST_TSO6, NetFeature.GUEST_CSUM],
  [NetFeature.GUEST_UFO, NetFeature.GUEST_CSUM],
  [NetFeature.GUEST_USO4, NetFeature.GUEST_CSUM],
  [NetFeature.GUEST_USO6, NetFeature.GUEST_CSUM],
  [NetFeature.HOST_TSO4, NetFeature.CSUM],
  [NetFeature.HOST_TSO6, NetFeature.CSUM],
  [NetFeature.HOST_UFO, NetFeature.CSUM],
  [NetFeature.HOST_USO, NetFeature.CSUM],
  [NetFeature.CTRL_RX, NetFeature.CTRL_VQ],
  [NetFeature.CTRL_VLAN, NetFeature.CTRL_VQ],
  [NetFeature.GUEST_ANNOUNCE, NetFeature.CTRL_VQ],
  [NetFeature.MQ, NetFeature.CTRL_VQ],
  [NetFeature.CTRL_MAC_ADDR, NetFeature.CTRL_VQ],
]

/** Returns the features that a device on this port offers. @virtio 5.1.3 */
export function netFeatures(port: NetworkPort, mtu: number | undefined): bigint {
  const { MAC, STATUS, SPEED_DUPLEX, MRG_RXBUF, MTU, MQ } = NetFeature
  const { CTRL_VQ, CTRL_RX, CTRL_RX_EXTRA, CTRL_VLAN, CTRL_MAC_ADDR, CTRL_GUEST_OFFLOADS, GUEST_ANNOUNCE } = NetFeature
  let features = featureSet(MAC, STATUS, SPEED_DUPLEX, MRG_RXBUF)
  features |= featureSet(CTRL_VQ, CTRL_RX, CTRL_RX_EXTRA, CTRL_VLAN, CTRL_MAC_ADDR, GUEST_ANNOUNCE)
  if (mtu !== undefined) features |= featureSet(MTU)
  if (port.pairs > 1) features |= featureSet(MQ)
  for (const [feature, needs] of HOST_OFFLOADS) {
    if ((port.transmitOffloads & needs) === needs) features |= featureSet(feature)
  }
  for (const [feature, offload] of GUEST_OFFLOADS) {
    const needs = offload | Offload.CSUM
    if ((port.receiveOffloads & needs) === needs) features |= featureSet(feature, CTRL_GUEST_OFFLOADS)
  }
  return features
}

/** Returns the `Offload`s that the driver may request for transmitted packets. */
export function transmitOffloads(features: bigint): number {
  let offloads = 0
  for (const [feature, needs] of HOST_OFFLOADS) if (hasFeature(features, feature)) offloads |= needs
  return offloads
}

/** Returns the `Offload`s that received packets may leave to the driver, before any command. @virtio 5.1.6.5.8 */
export function receiveOffloads(features: bigint): number {
  let offloads = 0
  for (const [feature, offload] of GUEST_OFFLOADS) if (hasFeature(features, feature)) offloads |= offload
  return offloads
}

/** Fills the configuration space except `status`. Fields of features that are not offered are 0. @virtio 5.1.4 */
export function writeConfig(view: DataView, port: NetworkPort, address: Uint8Array, mtu: number | undefined): void {
  writeAddress(view, address)
  if (port.pairs > 1) view.setUint16(CONFIG_MAX_VIRTQUEUE_PAIRS, port.pairs, true)
  view.setUint16(CONFIG_MTU, mtu ?? 0, true)
  view.setUint32(CONFIG_SPEED, port.speed ?? SPEED_UNKNOWN, true)
  view.setUint8(CONFIG_DUPLEX, port.speed === undefined ? DUPLEX_UNKNOWN : DUPLEX_FULL)
}

export function writeAddress(view: DataView, address: Uint8Array): void {
  for (const [i, byte] of address.entries()) view.setUint8(CONFIG_MAC + i, byte)
}

export function writeStatus(view: DataView, status: number): void {
  view.setUint16(CONFIG_STATUS, status, true)
}
