import type { MemoryRegion, RegionBacking } from '../memory/memory-region.ts'

/** Memory of a device that the guest can map. @virtio 2.10 */
export type SharedMemoryRegion = ViewedRegion | FileRegion | WindowRegion

/** Region that the device accesses, too. */
interface ViewedRegion {
  readonly id: number
  readonly memory: MemoryRegion
}

/**
 * Region of which the device knows only the file. The guest accesses it where the monitor can map the file; elsewhere
 * it reads as ones, and writes have no effect.
 */
interface FileRegion {
  readonly id: number
  /** In bytes, whole pages. */
  readonly size: number
  readonly file: RegionBacking
}

/** Empty region, into which the device maps files while the guest runs. Transports without windows do not show it. */
interface WindowRegion {
  readonly id: number
  /** In bytes, whole pages. */
  readonly size: number
  readonly window: true
}

/**
 * Shared memory region of the guest into which files are mapped. Offsets and lengths are bytes, in whole pages.
 *
 *     session.window(0)?.map(0x10000, 0x1000, { fd, offset: 0 }, false, (mapped) => reply(mapped))
 */
export interface SharedWindow {
  /**
   * Maps part of a file. The descriptor is used within the call only.
   * @param writable true if the guest may write to the file
   * @param done called once, when the front-end answered: within the call, or in a later turn. Requests of the guest
   *   that depend on the mapping must be answered afterwards. `mapped` is false if the range is not free, or if the
   *   front-end refused it
   */
  map(offset: number, length: number, file: RegionBacking, writable: boolean, done: (mapped: boolean) => void): void
  /**
   * Removes a whole mapping.
   * @param done called once, when the front-end answered. `unmapped` is false if there is no such mapping
   */
  unmap(offset: number, length: number, done: (unmapped: boolean) => void): void
}

/** Size of a region in bytes. */
export function regionBytes(region: SharedMemoryRegion): number {
  return 'memory' in region ? region.memory.size : region.size
}

/** File behind all of a region, if there is one. */
export function regionFile(region: SharedMemoryRegion): RegionBacking | undefined {
  if ('memory' in region) return region.memory.backing
  return 'file' in region ? region.file : undefined
}
