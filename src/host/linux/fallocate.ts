import { systemCall } from './system-call.ts'

/** What to do with a range of a file; fallocate(2). */
export const FallocateMode = {
  KEEP_SIZE: 0x01,
  PUNCH_HOLE: 0x02,
  ZERO_RANGE: 0x10,
} as const

/** Deallocates or zeroes a range of a file or block device. Purpose, descriptor, mode, offset and length in bytes. */
export const fallocate = systemCall<[fd: number, mode: number, offset: number, length: number]>(
  'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
)
