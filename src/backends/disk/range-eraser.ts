import { fstatSync, futimesSync } from 'node:fs'
import { discardBlocks } from '../../host/linux/block-ioctl.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { FallocateMode, fallocate } from '../../host/linux/posix.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'

/** Methods of the kernel to erase a range without writing zeroes, with their names in log lines. */
const ZeroRangeMethod = {
  /** Deallocates the range, which then reads as zeroes. */
  PUNCH: 'punching holes',
  /** Keeps the range allocated; it then reads as zeroes. */
  ZERO: 'zeroing ranges',
  /** Block devices only: deallocates the range, whose contents are then undefined. */
  DISCARD: 'discarding blocks',
} as const
type ZeroRangeMethod = (typeof ZeroRangeMethod)[keyof typeof ZeroRangeMethod]

const NOT_SUPPORTED = ['EOPNOTSUPP', 'ENOSYS', 'ENOTTY']

/** Erases ranges of an image. A method that the file system or device does not support is tried and logged once. */
export class RangeEraser {
  readonly #path: string
  readonly #fd: number
  readonly #log: (line: string) => void
  readonly #methods: Set<ZeroRangeMethod>

  constructor(path: string, fd: number, blockDevice: boolean, log: (line: string) => void) {
    this.#path = path
    this.#fd = fd
    this.#log = log
    const methods = blockDevice
      ? [ZeroRangeMethod.PUNCH, ZeroRangeMethod.ZERO, ZeroRangeMethod.DISCARD]
      : [ZeroRangeMethod.PUNCH, ZeroRangeMethod.ZERO]
    this.#methods = new Set(ffiMissing() === undefined ? methods : [])
  }

  /** Methods that have not failed as unsupported. */
  get methods(): string[] {
    return [...this.#methods]
  }

  /**
   * True if ranges can be deallocated. Block devices are assumed to support it; on a file, a hole is punched past its
   * end to check.
   * @param byteLength size of the image, at most one sector less than that of the file
   */
  canDiscard(byteLength: number): boolean {
    if (this.#methods.has(ZeroRangeMethod.DISCARD)) return true
    const { atime, mtime } = fstatSync(this.#fd)
    const can = this.punch(byteLength + 512, 4096)
    // The attempt is not a change of the file, by which snapshots and backups recognize its content.
    futimesSync(this.#fd, atime, mtime)
    return can
  }

  /** Deallocates a range, which then reads as zeroes. @returns false if that is not supported */
  punch(offset: number, length: number): boolean {
    return this.#attempt(ZeroRangeMethod.PUNCH, offset, length)
  }

  /** Zeroes a range and keeps it allocated. @returns false if that is not supported */
  zero(offset: number, length: number): boolean {
    return this.#attempt(ZeroRangeMethod.ZERO, offset, length)
  }

  /** Deallocates a range, whose contents are then undefined. @returns false if that is not supported */
  discard(offset: number, length: number): boolean {
    return (
      this.#attempt(ZeroRangeMethod.DISCARD, offset, length) || this.#attempt(ZeroRangeMethod.PUNCH, offset, length)
    )
  }

  #attempt(method: ZeroRangeMethod, offset: number, length: number): boolean {
    if (!this.#methods.has(method)) return false
    try {
      const purpose = `${method} in ${this.#path}`
      if (method === ZeroRangeMethod.DISCARD) discardBlocks(purpose, this.#fd, offset, length)
      else fallocate(purpose, this.#fd, FallocateMode.KEEP_SIZE | MODES[method], offset, length)
      return true
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error
      // A block device with blocks larger than 512 bytes refuses a range that is not a multiple of them.
      if (error.code === 'EINVAL') return false
      if (!NOT_SUPPORTED.includes(error.code)) throw error
      this.#methods.delete(method)
      this.#log(`${this.#path}: ${method} is not supported (${error.code})`)
      return false
    }
  }
}

const MODES = {
  [ZeroRangeMethod.PUNCH]: FallocateMode.PUNCH_HOLE,
  [ZeroRangeMethod.ZERO]: FallocateMode.ZERO_RANGE,
} as const
