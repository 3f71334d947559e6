import { SECTOR_BYTES } from '../../../services/disk.ts'
import type { Reader } from '../../../virtqueue/reader.ts'
import { SEGMENT_BYTES, SEGMENT_UNMAP } from './protocol.ts'
import { Refusal } from './refusal.ts'

/** Limits of one discard or write zeroes request, low enough for the disk to complete it before the guest times out. */
export const MAX_SEGMENTS = 16
export const MAX_DISCARD_SECTORS = 1 << 21
/** Lower than for discards, because the host may have to write these zeroes. */
export const MAX_WRITE_ZEROES_SECTORS = 1 << 15

/** Ranges of a discard or write zeroes request. All are checked before the first is changed. */
export class SegmentList {
  count = 0
  /** Offsets and lengths in bytes. */
  readonly offsets = new Float64Array(MAX_SEGMENTS)
  readonly lengths = new Float64Array(MAX_SEGMENTS)
  readonly mayUnmap = new Uint8Array(MAX_SEGMENTS)

  /**
   * Reads the rest of the request. Leaves out segments of 0 sectors.
   * @param discard true for a discard request, false for write zeroes
   * @param capacity size of the disk in sectors
   * @returns the refusal if a segment is invalid
   * @virtio 5.2.6.2 an unknown flag is UNSUPP, even if there are other errors
   */
  read(reader: Reader, discard: boolean, capacity: number): Refusal | undefined {
    this.count = 0
    const bytes = reader.remaining
    if (bytes === 0 || bytes % SEGMENT_BYTES !== 0) return Refusal.ODD_SEGMENTS
    if (bytes > MAX_SEGMENTS * SEGMENT_BYTES) return Refusal.TOO_MANY_SEGMENTS
    const most = discard ? MAX_DISCARD_SECTORS : MAX_WRITE_ZEROES_SECTORS
    let refusal: Refusal | undefined
    while (reader.remaining > 0) {
      const sector = reader.u64()
      const sectors = reader.u32()
      const flags = reader.u32()
      if (discard ? flags !== 0 : (flags & ~SEGMENT_UNMAP) !== 0) return Refusal.SEGMENT_FLAGS
      if (sectors > most) refusal ??= Refusal.SEGMENT_LENGTH
      // Sector numbers of 2^53 or more are inexact here, but lie past the end of any disk.
      if (sector > capacity - sectors) refusal ??= Refusal.OUTSIDE
      if (refusal || sectors === 0) continue
      this.offsets[this.count] = sector * SECTOR_BYTES
      this.lengths[this.count] = sectors * SECTOR_BYTES
      this.mayUnmap[this.count] = flags & SEGMENT_UNMAP
      this.count++
    }
    return refusal
  }
}
