import type { GuestMemory } from '../../../../memory/guest-memory.ts'
import { ScatterList } from '../../../../memory/scatter-list.ts'
import type { Reader } from '../../../../virtqueue/reader.ts'
import { GpuResponse, MEM_ENTRY_SIZE } from '../protocol.ts'

/** Limit of entries of one resource: 64 MiB in single pages, and far more if pages are adjacent. */
export const MAX_ENTRIES = 16384

/**
 * Host memory charged for one segment, in bytes: an element in each of four arrays, doubled by growth, and a view if it
 * is read.
 */
const SEGMENT_COST = 240

/**
 * Reads `count` entries of guest memory from a request.
 * @returns the backing, or the error for the driver: nothing is attached in part
 */
export function takeBacking(reader: Reader, count: number, memory: GuestMemory): ScatterList | GpuResponse {
  if (count > MAX_ENTRIES) return GpuResponse.ERR_OUT_OF_MEMORY
  if (count * MEM_ENTRY_SIZE > reader.remaining) return GpuResponse.ERR_INVALID_PARAMETER
  const backing = new ScatterList(memory)
  for (let i = 0; i < count; i++) {
    const address = reader.u64()
    const length = reader.u32()
    reader.skip(4)
    if (length > 0 && !memory.contains(address, length)) return GpuResponse.ERR_INVALID_PARAMETER
    backing.add(address, length)
  }
  return backing.byteLength > 0 ? backing : GpuResponse.ERR_INVALID_PARAMETER
}

/** Returns the host memory charged for a backing, in bytes. */
export function backingCost(backing: ScatterList): number {
  return backing.segmentCount * SEGMENT_COST
}
