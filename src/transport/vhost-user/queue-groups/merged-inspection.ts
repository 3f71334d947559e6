import type { DeviceStateInspection } from '../../../virtio/device-inspection.ts'

/** Merges the inspections of several groups: each ring from its group, and the state of each group. */
export function mergeInspections(groups: readonly DeviceStateInspection[]): DeviceStateInspection {
  const [first] = groups
  return {
    ...first,
    status: [...new Set(groups.flatMap(({ status }) => status))],
    queues: first.queues.map((_, ring) => groups[ring % groups.length].queues[ring]),
    state: { groups: groups.map(({ state }) => state) },
  }
}
