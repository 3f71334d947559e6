import type { GuestMemory } from '../../../../memory/guest-memory.ts'
import { ScatterList } from '../../../../memory/scatter-list.ts'
import type { Reader } from '../../../../virtqueue/reader.ts'
import { GpuResponse, MEM_ENTRY_SIZE } from '../protocol.ts'

/** Pieces a resource may be scattered over: 64 MiB of single pages, and far more where pages touch. */
const MAX_ENTRIES = 16384

/** What a list costs the host: four arrays' places a piece, doubled by growing, and a view of each that is read. */
const PIECE_COST = 240

/**
 * Takes `count` entries of guest memory off a request.
 * @returns the pages, or the error the guest gets: nothing is attached in part
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

/** What the host holds for a list of pages, in bytes. */
export function backingCost(backing: ScatterList): number {
  return backing.segmentCount * PIECE_COST
}
