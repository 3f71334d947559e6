import type { VirtioDevice } from './device.ts'
import { Feature, featureNames, hasFeature } from './feature.ts'
import type { QueueState } from './queue-state.ts'
import { statusNames } from './status.ts'

/** State of a device for display, as plain values. */
export interface DeviceStateInspection {
  readonly name: string
  readonly id: number
  readonly status: readonly string[]
  readonly offered: readonly string[]
  readonly negotiated: readonly string[]
  readonly queues: readonly QueueStateInspection[]
  readonly state: Record<string, unknown>
}

export interface QueueStateInspection {
  readonly index: number
  readonly size: number
  readonly enabled: boolean
  readonly packed: boolean
  readonly available: number
  readonly used: number
  readonly inFlight: number
  readonly popped: number
  readonly pushed: number
  readonly malformed: number
  readonly lastFault: string | undefined
  readonly interrupts: number
  readonly suppressed: number
  readonly broken: string | undefined
}

/** Part of a device's state that the transport holds. */
export interface InspectedState {
  readonly status: number
  readonly offered: bigint
  readonly negotiated: bigint
  readonly queues: readonly Pick<QueueState, 'size' | 'enabled' | 'live'>[]
}

export function inspectDevice(device: VirtioDevice, state: InspectedState): DeviceStateInspection {
  const { negotiated } = state
  const packed = hasFeature(negotiated, Feature.RING_PACKED)
  return {
    name: device.name,
    id: device.id,
    status: statusNames(state.status),
    offered: featureNames(state.offered, device.featureNames),
    negotiated: featureNames(negotiated, device.featureNames),
    queues: state.queues.map(({ size, enabled, live }, index) => ({
      index,
      size,
      enabled,
      packed,
      available: live?.position.available ?? 0,
      used: live?.position.used ?? 0,
      inFlight: live?.position.inFlight ?? 0,
      popped: live?.counters.popped ?? 0,
      pushed: live?.counters.pushed ?? 0,
      malformed: live?.counters.malformed ?? 0,
      lastFault: live?.counters.lastFault,
      interrupts: live?.counters.interrupts ?? 0,
      suppressed: live?.counters.suppressed ?? 0,
      broken: live?.broken,
    })),
    state: deviceState(device),
  }
}

function deviceState(device: VirtioDevice): Record<string, unknown> {
  try {
    return device.inspect?.() ?? {}
  } catch (error) {
    return { error: String(error) }
  }
}
