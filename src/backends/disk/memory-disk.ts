import { copyBytes } from '../../memory/copy-bytes.ts'
import { type Disk, DiskOp, type DiskRequest, SECTOR_BYTES } from '../../services/disk.ts'

export interface MemoryDiskOptions {
  /** @default false */
  readonly readOnly?: boolean
}

/**
 * Disk in a byte array, for browsers and tests. Its contents are lost when the program exits.
 *
 *     const device = new BlockDevice(new MemoryDisk(new Uint8Array(64 << 20)))
 */
export class MemoryDisk implements Disk {
  readonly byteLength: number
  readonly readOnly: boolean
  readonly canDiscard: boolean

  /** @param bytes contents of the disk; bytes of an incomplete last sector are not used */
  constructor(
    private readonly bytes: Uint8Array,
    options: MemoryDiskOptions = {},
  ) {
    this.byteLength = bytes.length - (bytes.length % SECTOR_BYTES)
    this.readOnly = options.readOnly ?? false
    this.canDiscard = !this.readOnly
  }

  submit(request: DiskRequest): void {
    const { op, offset, length } = request
    if (op === DiskOp.READ || op === DiskOp.WRITE) this.#copy(request)
    // Discarded sectors read as zeroes too, so a guest that still needs them fails at once.
    else if (op !== DiskOp.FLUSH) this.bytes.fill(0, offset, offset + length)
    request.complete()
  }

  close(): void {}

  #copy(request: DiskRequest): void {
    const { regions, offsets, lengths, count } = request.data
    for (let i = 0, at = request.offset; i < count; at += lengths[i++]) {
      if (request.op === DiskOp.READ) copyBytes(this.bytes, at, regions[i].u8, offsets[i], lengths[i])
      else copyBytes(regions[i].u8, offsets[i], this.bytes, at, lengths[i])
    }
  }
}
