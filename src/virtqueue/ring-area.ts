import type { GuestMemory } from '../memory/guest-memory.ts'
import type { MemoryRegion } from '../memory/memory-region.ts'

/** Location of a ring's descriptor, driver or device area: aligned and within one region. */
export interface RingArea {
  readonly region: MemoryRegion
  /** Offset from the start of the region, in bytes. */
  readonly offset: number
}

/** Returns the area; undefined if it is misaligned or not within one region. @virtio 2.7, 2.8.10.1 */
export function findRingArea(
  memory: GuestMemory,
  address: number,
  length: number,
  alignment: number,
): RingArea | undefined {
  const region = memory.find(address)
  if (!region || address % alignment !== 0) return undefined
  const offset = address - region.base
  return length <= region.size - offset ? { region, offset } : undefined
}
