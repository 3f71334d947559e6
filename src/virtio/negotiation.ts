import type { QueueSetup } from '../virtqueue/device-queue.ts'
import type { VirtioDevice } from './device.ts'
import { DEVICE_FEATURES, Feature, featureNames, featureSet, hasFeature } from './feature.ts'

/** What every device offers for its rings. */
const RING_FEATURES = featureSet(
  Feature.INDIRECT_DESC,
  Feature.EVENT_IDX,
  Feature.VERSION_1,
  Feature.RING_PACKED,
  Feature.IN_ORDER,
  Feature.RING_RESET,
)

/**
 * What cannot be offered where memory is elsewhere: there a queue is fetched by notification, so that the driver has to
 * give one for whatever it adds, and only split rings are.
 */
const NEAR_FEATURES = featureSet(Feature.EVENT_IDX, Feature.RING_PACKED)

/** What is offered of that to a driver whose memory is elsewhere. */
export function distantFeatures(offered: bigint): bigint {
  return offered & ~NEAR_FEATURES
}

/** Why a device cannot work with a driver whose memory is elsewhere, in words for people. */
export function distantRefusal(device: VirtioDevice, accepted: bigint): string | undefined {
  if (device.reachesMemory) return 'it needs memory that is shared, and the driver has none'
  const near = accepted & NEAR_FEATURES
  return near === 0n ? undefined : `not offered where memory is not shared: ${names(device, near)}`
}

/** What a device offers, with what its queues can do for it. */
export function offeredFeatures(device: VirtioDevice): bigint {
  return (device.features & DEVICE_FEATURES) | RING_FEATURES
}

/** Why a device cannot work with what the driver accepted, in words for people. @virtio 2.2.2, 6.2 */
export function featureRefusal(device: VirtioDevice, accepted: bigint): string | undefined {
  const unknown = unknownFeatures(device, accepted, offeredFeatures(device))
  if (unknown !== undefined) return unknown
  if (!hasFeature(accepted, Feature.VERSION_1)) return 'VERSION_1 not accepted: no legacy drivers'
  for (const [feature, requires] of device.featureDependencies ?? []) {
    if (hasFeature(accepted, feature) && !hasFeature(accepted, requires)) {
      return `${names(device, featureSet(feature))} without ${names(device, featureSet(requires))}`
    }
  }
  return undefined
}

/** Names the accepted features that are not among those offered; undefined if all are. */
function unknownFeatures(device: VirtioDevice, accepted: bigint, offered: bigint): string | undefined {
  const unknown = accepted & ~offered
  return unknown === 0n ? undefined : `not offered: ${names(device, unknown)}`
}

function names(device: VirtioDevice, features: bigint): string {
  return featureNames(features, device.featureNames).join(', ')
}

/** What was agreed on that makes a difference to queues. */
export function ringFeatures(features: bigint): Pick<QueueSetup, 'packed' | 'eventIdx' | 'indirect' | 'inOrder'> {
  return {
    packed: hasFeature(features, Feature.RING_PACKED),
    eventIdx: hasFeature(features, Feature.EVENT_IDX),
    indirect: hasFeature(features, Feature.INDIRECT_DESC),
    inOrder: hasFeature(features, Feature.IN_ORDER),
  }
}
