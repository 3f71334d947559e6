import type { VirtioDevice } from '../../virtio/device.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { offeredFeatures } from '../../virtio/negotiation.ts'

/**
 * Features that a device offers to front-ends: without RING_RESET, since no message notifies a back-end of the reset of
 * one queue, and the driver frees that queue's buffers. @virtio 2.6.1
 */
export function vhostFeatures(device: VirtioDevice): bigint {
  return offeredFeatures(device) & ~featureSet(Feature.RING_RESET)
}
