import { discardBlocks } from '../../host/linux/block-ioctl.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { FallocateMode, fallocate } from '../../host/linux/posix.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'

/** Methods of the kernel to erase a range without writing zeroes. */
const ZeroRangeMethod = {
  /** Deallocate; reads as zeroes. */
  PUNCH: 'punching holes',
  /** Keep it allocated; reads as zeroes. */
  ZERO: 'zeroing ranges',
  /** Block devices: deallocate; reads as anything. */
  DISCARD: 'discarding blocks',
} as const
type ZeroRangeMethod = (typeof ZeroRangeMethod)[keyof typeof ZeroRangeMethod]

const NOT_SUPPORTED = ['EOPNOTSUPP', 'ENOSYS', 'ENOTTY']

/** Erases ranges of an image by the methods that its file system or device supports. An unsupported one is tried and logged once. */
export class RangeEraser {
  readonly #path: string
  readonly #fd: number
  readonly #log: (line: string) => void
  readonly #ways: Set<ZeroRangeMethod>

  constructor(path: string, fd: number, blockDevice: boolean, log: (line: string) => void) {
    this.#path = path
    this.#fd = fd
    this.#log = log
    const ways = blockDevice
      ? [ZeroRangeMethod.PUNCH, ZeroRangeMethod.ZERO, ZeroRangeMethod.DISCARD]
      : [ZeroRangeMethod.PUNCH, ZeroRangeMethod.ZERO]
    this.#ways = new Set(ffiMissing() === undefined ? ways : [])
  }

  /** The ways that have not failed yet. */
  get ways(): string[] {
    return [...this.#ways]
  }

  /**
   * Whether ranges can be given up: a block device is taken at its word, a file system is asked, past the end of the file.
   * @param byteLength size of the image, short of at most one sector
   */
  canDiscard(byteLength: number): boolean {
    return this.#ways.has(ZeroRangeMethod.DISCARD) || this.punch(byteLength + 512, 4096)
  }

  /** Deallocates a range, which reads as zeroes from then on. @returns false where that cannot be done */
  punch(offset: number, length: number): boolean {
    return this.#attempt(ZeroRangeMethod.PUNCH, offset, length)
  }

  /** Zeroes a range and keeps what it takes. @returns false where that cannot be done */
  zero(offset: number, length: number): boolean {
    return this.#attempt(ZeroRangeMethod.ZERO, offset, length)
  }

  /** Gives a range up, whatever it reads as from then on. @returns false where that cannot be done */
  discard(offset: number, length: number): boolean {
    return (
      this.#attempt(ZeroRangeMethod.DISCARD, offset, length) || this.#attempt(ZeroRangeMethod.PUNCH, offset, length)
    )
  }

  #attempt(way: ZeroRangeMethod, offset: number, length: number): boolean {
    if (!this.#ways.has(way)) return false
    try {
      const purpose = `${way} in ${this.#path}`
      if (way === ZeroRangeMethod.DISCARD) discardBlocks(purpose, this.#fd, offset, length)
      else fallocate(purpose, this.#fd, FallocateMode.KEEP_SIZE | MODES[way], offset, length)
      return true
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error
      // A block device with blocks of more than 512 bytes refuses a range that does not end with one.
      if (error.code === 'EINVAL') return false
      if (!NOT_SUPPORTED.includes(error.code)) throw error
      this.#ways.delete(way)
      this.#log(`${this.#path}: ${way} is not possible here (${error.code})`)
      return false
    }
  }
}

const MODES = {
  [ZeroRangeMethod.PUNCH]: FallocateMode.PUNCH_HOLE,
  [ZeroRangeMethod.ZERO]: FallocateMode.ZERO_RANGE,
} as const
