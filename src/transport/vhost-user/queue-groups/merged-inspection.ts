import type { DeviceStateInspection } from '../../../virtio/device-inspection.ts'

/** One device as several groups show it: each ring as the group shows it that has it, each group's own state. */
export function mergeInspections(groups: readonly DeviceStateInspection[]): DeviceStateInspection {
  const [first] = groups
  return {
    ...first,
    status: [...new Set(groups.flatMap(({ status }) => status))],
    queues: first.queues.map((_, ring) => groups[ring % groups.length].queues[ring]),
    state: { groups: groups.map(({ state }) => state) },
  }
}
