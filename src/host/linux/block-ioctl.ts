import { systemCall } from './system-call.ts'

// Requests of linux/fs.h, as most architectures number them; where they differ (PowerPC, MIPS) the call fails cleanly.
const BLKDISCARD = 0x1277
const BLKGETSIZE64 = 0x8008_1272

const ioctl = systemCall<[fd: number, request: number, argument: BigUint64Array]>(
  'int ioctl(int fd, unsigned long request, void *argument)',
)

/** Size of a block device in bytes. */
export function blockDeviceSize(purpose: string, fd: number): number {
  const size = new BigUint64Array(1)
  ioctl(purpose, fd, BLKGETSIZE64, size)
  return Number(size[0])
}

/** Tells a block device that a range is no longer needed. */
export function discardBlocks(purpose: string, fd: number, offset: number, length: number): void {
  ioctl(purpose, fd, BLKDISCARD, BigUint64Array.of(BigInt(offset), BigInt(length)))
}
