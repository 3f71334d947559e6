import { ioctl } from './posix.ts'

// Requests of linux/fs.h, with the numbers of most architectures. On PowerPC and MIPS the calls fail.
const BLKDISCARD = 0x1277
const BLKGETSIZE64 = 0x8008_1272

/** Size of a block device in bytes. */
export function blockDeviceSize(purpose: string, fd: number): number {
  const size = new BigUint64Array(1)
  ioctl(purpose, fd, BLKGETSIZE64, size)
  return Number(size[0])
}

/** Discards a range of a block device. Offset and length in bytes. */
export function discardBlocks(purpose: string, fd: number, offset: number, length: number): void {
  ioctl(purpose, fd, BLKDISCARD, BigUint64Array.of(BigInt(offset), BigInt(length)))
}
