import { Feature, hasFeature } from '../../../virtio/feature.ts'
import { VhostFeature } from '../protocol.ts'
import type { FrontEnd } from './front-end.ts'
import type { GuestSide } from './guest-side.ts'

/** Address of guest memory in the front-end. */
export const USER_BASE = 0x7f12_3400_0000

export interface StartedRing {
  readonly index: number
  /** Queue size, used if the guest has no such ring yet. */
  readonly size: number
  /** Negotiated features. */
  readonly features: bigint
  /** Position to start at. @default 0 */
  readonly base?: number | undefined
}

/** Sends SET_MEM_TABLE with the whole guest memory. */
export function shareMemory(frontEnd: FrontEnd, { file }: GuestSide): void {
  const region = { guestAddress: 0, size: file.size, userAddress: USER_BASE, mmapOffset: 0 }
  frontEnd.send('SET_MEM_TABLE', { regions: 1, elements: [region] }, [file.descriptor])
}

/** Sets up, starts and enables a ring. */
export function startRing(frontEnd: FrontEnd, guest: GuestSide, { index, size, features, base }: StartedRing): void {
  const queue = guest.queues[index] ?? guest.makeQueue(index, size, features)
  const { descriptorArea, driverArea, deviceArea } = queue.addresses
  const beginning = hasFeature(features, Feature.RING_PACKED) ? 0x8000_8000 : 0
  frontEnd.send('SET_VRING_NUM', { index, num: queue.size })
  frontEnd.send('SET_VRING_BASE', { index, num: base ?? beginning })
  frontEnd.send('SET_VRING_ADDR', {
    index,
    flags: 0,
    descriptor: USER_BASE + descriptorArea,
    used: USER_BASE + deviceArea,
    available: USER_BASE + driverArea,
    log: deviceArea,
  })
  frontEnd.send('SET_VRING_CALL', index, [guest.calls[index].descriptor])
  frontEnd.send('SET_VRING_ERR', index, [guest.errors[index].descriptor])
  frontEnd.send('SET_VRING_KICK', index, [guest.kicks[index].descriptor])
  if (hasFeature(features, VhostFeature.PROTOCOL_FEATURES)) frontEnd.send('SET_VRING_ENABLE', { index, num: 1 })
}
