import type { QueueSetup } from '../virtqueue/device-queue.ts'
import type { VirtioDevice } from './device.ts'
import { DEVICE_FEATURES, Feature, featureNames, featureSet, hasFeature } from './feature.ts'

/** Ring features that every device offers. */
const RING_FEATURES = featureSet(
  Feature.INDIRECT_DESC,
  Feature.EVENT_IDX,
  Feature.VERSION_1,
  Feature.RING_PACKED,
  Feature.IN_ORDER,
  Feature.RING_RESET,
)

/**
 * Ring features that need mapped memory. A shadow ring is fetched when the driver notifies, so notifications must not
 * be suppressed by event index, and only split rings are supported.
 */
const MAPPED_ONLY_FEATURES = featureSet(Feature.EVENT_IDX, Feature.RING_PACKED)

/** Returns the features of `offered` that work with bounce memory. */
export function bounceFeatures(offered: bigint): bigint {
  return offered & ~MAPPED_ONLY_FEATURES
}

/** Returns the reason why the device cannot work with bounce memory and the accepted features; undefined if it can. */
export function bounceRefusal(device: VirtioDevice, accepted: bigint): string | undefined {
  if (device.reachesMemory) return 'the device needs shared guest memory, and none is shared'
  const mappedOnly = accepted & MAPPED_ONLY_FEATURES
  return mappedOnly === 0n ? undefined : `not offered without shared guest memory: ${names(device, mappedOnly)}`
}

/** Returns all feature bits that are offered for a device: its own and those of its queues. */
export function offeredFeatures(device: VirtioDevice): bigint {
  return (device.features & DEVICE_FEATURES) | RING_FEATURES
}

/** Returns the reason to refuse the accepted features; undefined if they are valid. @virtio 2.2.2, 6.2 */
export function featureRefusal(device: VirtioDevice, accepted: bigint): string | undefined {
  const unknown = unknownFeatures(device, accepted, offeredFeatures(device))
  if (unknown !== undefined) return unknown
  if (!hasFeature(accepted, Feature.VERSION_1)) return 'VERSION_1 not accepted: legacy drivers are not supported'
  for (const [feature, requires] of device.featureDependencies ?? []) {
    if (hasFeature(accepted, feature) && !hasFeature(accepted, requires)) {
      return `${names(device, featureSet(feature))} without ${names(device, featureSet(requires))}`
    }
  }
  return undefined
}

/** Returns a reason that names the accepted features that were not offered; undefined if all were offered. */
function unknownFeatures(device: VirtioDevice, accepted: bigint, offered: bigint): string | undefined {
  const unknown = accepted & ~offered
  return unknown === 0n ? undefined : `not offered: ${names(device, unknown)}`
}

function names(device: VirtioDevice, features: bigint): string {
  return featureNames(features, device.featureNames).join(', ')
}

/** Returns the negotiated ring features as options of a queue. */
export function ringFeatures(features: bigint): Pick<QueueSetup, 'packed' | 'eventIdx' | 'indirect' | 'inOrder'> {
  return {
    packed: hasFeature(features, Feature.RING_PACKED),
    eventIdx: hasFeature(features, Feature.EVENT_IDX),
    indirect: hasFeature(features, Feature.INDIRECT_DESC),
    inOrder: hasFeature(features, Feature.IN_ORDER),
  }
}
