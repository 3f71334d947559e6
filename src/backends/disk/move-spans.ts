import { readSync, writeSync } from 'node:fs'
import { DiskOp, type DiskRequest } from '../../services/disk.ts'
import { DiskError } from './disk-error.ts'

/** Maximum bytes of one read or write. Node accepts lengths below 2^31. */
const MAX_AT_ONCE = 1 << 30

/** Signature that `readSync` and `writeSync` have in common. */
type Move = (fd: number, bytes: Uint8Array, offset: number, length: number, position: number) => number

/**
 * Reads or writes all spans of a request within this call.
 * @throws the error of the system call, or {DiskError} at the end of the file
 */
export function moveSpans(fd: number, request: DiskRequest): void {
  const { regions, offsets, lengths, count } = request.data
  const move: Move = request.op === DiskOp.READ ? readSync : writeSync
  let position = request.offset
  for (let i = 0; i < count; i++) {
    for (let done = 0; done < lengths[i]; ) {
      const take = Math.min(lengths[i] - done, MAX_AT_ONCE)
      const moved = move(fd, regions[i].u8, offsets[i] + done, take, position)
      if (moved === 0) throw new DiskError(FILE_SHRANK)
      done += moved
      position += moved
    }
  }
}

/** Error of a request that reached the end of the file. */
export const FILE_SHRANK = 'the file became shorter'
