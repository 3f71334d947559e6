import { SECTOR_BYTES } from '../../../services/disk.ts'
import type { Reader } from '../../../virtqueue/reader.ts'
import { SEGMENT_BYTES, SEGMENT_UNMAP } from './protocol.ts'
import { Refusal } from './refusal.ts'

/** What one discard or write zeroes request may ask for: what a disk can do before the guest gets impatient. */
export const MAX_SEGMENTS = 16
export const MAX_DISCARD_SECTORS = 1 << 21
/** Less, as a host that cannot do better has to write these zeroes. */
export const MAX_WRITE_ZEROES_SECTORS = 1 << 15

/** The ranges of a discard or write zeroes request, checked as a whole before any is touched. */
export class SegmentList {
  count = 0
  /** In bytes. */
  readonly offsets = new Float64Array(MAX_SEGMENTS)
  readonly lengths = new Float64Array(MAX_SEGMENTS)
  readonly mayUnmap = new Uint8Array(MAX_SEGMENTS)

  /**
   * Reads all that is left of the request; segments without a sector are left out.
   * @param discard whether that is what it asks for: writing zeroes otherwise
   * @param capacity sectors of the disk
   * @returns why the request is not to be served
   * @virtio 5.2.6.2 a flag it does not know is UNSUPP, whatever else is wrong
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
      // A sector number of 2^53 or more, which is not exact here, is past any disk's end as well.
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
