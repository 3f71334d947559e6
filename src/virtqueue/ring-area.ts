import type { GuestMemory } from '../memory/guest-memory.ts'
import type { MemoryRegion } from '../memory/memory-region.ts'

/** One of the three parts of a ring, checked: aligned, and whole within one region. */
export interface RingArea {
  readonly region: MemoryRegion
  /** In bytes from the region's start. */
  readonly offset: number
}

/** @returns the area, or undefined where it is misaligned or not all in one region. @virtio 2.7, 2.8.10.1 */
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
