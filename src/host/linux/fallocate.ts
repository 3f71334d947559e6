import { systemCall } from './system-call.ts'

/** Flags of fallocate(2). */
export const FallocateMode = {
  KEEP_SIZE: 0x01,
  PUNCH_HOLE: 0x02,
  ZERO_RANGE: 0x10,
} as const

/**
 * Allocates, deallocates or zeroes a range of a file or block device, in bytes; the first argument is the purpose, for
 * messages.
 */
export const fallocate = systemCall<[fd: number, mode: number, offset: number, length: number]>(
  'int fallocate(int fd, int mode, int64_t offset, int64_t length)',
)
