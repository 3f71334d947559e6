import { discardBlocks } from '../../../host/linux/block-ioctl.ts'
import { Errno } from '../../../host/linux/errno.ts'
import { FallocateMode } from '../../../host/linux/posix.ts'
import type { Completion } from '../../../host/linux/reactor/operation.ts'
import type { Reactor } from '../../../host/linux/reactor/reactor.ts'
import { errnoName, SystemCallError } from '../../../host/linux/system-call-error.ts'
import { DiskOp, type DiskRequest } from '../../../services/disk.ts'
import type { SharedDiskFile } from './disk-file.ts'
import { zeroSpans } from './zeroes.ts'

/** Ways of erasing a range, each with what it is called in messages. */
const Way = {
  /** Deallocate; reads as zeroes. */
  PUNCH: 'punching holes',
  /** Keep it allocated; reads as zeroes. */
  ZERO: 'zeroing ranges',
  /** Block devices: deallocate; reads as anything. */
  DISCARD: 'discarding blocks',
  /** The last resort for what has to read as zeroes. */
  WRITE: 'writing zeroes',
} as const
type Way = (typeof Way)[keyof typeof Way]

/** What is tried, in this order. A discard that nothing can do is done: it is no more than a hint. @virtio 5.2.6.2 */
const DISCARD_WAYS: readonly Way[] = [Way.PUNCH, Way.DISCARD]
const UNMAP_WAYS: readonly Way[] = [Way.PUNCH, Way.ZERO, Way.WRITE]
const ZERO_WAYS: readonly Way[] = [Way.ZERO, Way.WRITE]

const NOT_SUPPORTED: readonly number[] = [Errno.EOPNOTSUPP, Errno.ENOSYS, Errno.ENOTTY]

/** Discards and zeroes ranges through a reactor, by the methods that the file supports. An unsupported one is tried and logged once. */
export class RangeZeroing {
  /** Bytes of zeroes written because nothing better worked. */
  zeroesWritten = 0
  readonly #file: SharedDiskFile
  readonly #reactor: Reactor
  readonly #log: (line: string) => void
  readonly #missing = new Set<Way>()
  /** Attempts not in use. */
  readonly #free: Attempt[] = []
  readonly #took = (attempt: Attempt, result: number) => this.#finish(attempt, result)

  constructor(file: SharedDiskFile, reactor: Reactor, log: (line: string) => void) {
    this.#file = file
    this.#reactor = reactor
    this.#log = log
    if (!file.blockDevice) this.#missing.add(Way.DISCARD)
  }

  /** The ways that have not failed yet. */
  get ways(): string[] {
    return Object.values(Way).filter((way) => !this.#missing.has(way))
  }

  /** Starts a discard or write of zeroes. `completion` receives 0, or -errno of the last method. */
  start(request: DiskRequest, completion: Completion): void {
    const attempt = this.#free.pop() ?? new Attempt(this.#took)
    attempt.request = request
    attempt.completion = completion
    attempt.ways = request.op === DiskOp.DISCARD ? DISCARD_WAYS : request.mayUnmap ? UNMAP_WAYS : ZERO_WAYS
    attempt.next = 0
    this.#advance(attempt)
  }

  /** Tries the next way there is. */
  #advance(attempt: Attempt): void {
    const { request, ways } = attempt
    while (attempt.next < ways.length && this.#missing.has(ways[attempt.next])) attempt.next++
    if (!request || attempt.next === ways.length) {
      this.#end(attempt, 0)
      return
    }
    const { offset, length } = request
    const { fd, path } = this.#file
    switch (ways[attempt.next]) {
      case Way.PUNCH:
        this.#reactor.allocate(fd, FallocateMode.KEEP_SIZE | FallocateMode.PUNCH_HOLE, offset, length, attempt)
        break
      case Way.ZERO:
        this.#reactor.allocate(fd, FallocateMode.KEEP_SIZE | FallocateMode.ZERO_RANGE, offset, length, attempt)
        break
      case Way.DISCARD:
        attempt.done(discardNow(`discarding blocks of ${path}`, fd, offset, length))
        break
      case Way.WRITE:
        this.zeroesWritten += length
        this.#reactor.writeSpans(fd, offset, zeroSpans(length), attempt)
    }
  }

  #finish(attempt: Attempt, result: number): void {
    const way = attempt.ways[attempt.next]
    const unsupported = NOT_SUPPORTED.includes(-result)
    // A block device with blocks of more than 512 bytes refuses a range that does not end with one, this time.
    if (way !== Way.WRITE && (unsupported || result === -Errno.EINVAL)) {
      if (unsupported && !this.#missing.has(way)) {
        this.#missing.add(way)
        this.#log(`${this.#file.path}: ${way} is not possible here (${errnoName(-result)})`)
      }
      attempt.next++
      this.#advance(attempt)
    } else if (way === Way.WRITE && result >= 0 && result < (attempt.request?.length ?? 0))
      this.#end(attempt, -Errno.EIO)
    else this.#end(attempt, Math.min(result, 0))
  }

  #end(attempt: Attempt, result: number): void {
    const { completion } = attempt
    attempt.request = undefined
    attempt.completion = undefined
    this.#free.push(attempt)
    completion?.done(result)
  }
}

/** A request on its way through the ways. */
class Attempt implements Completion {
  request: DiskRequest | undefined
  completion: Completion | undefined
  ways: readonly Way[] = DISCARD_WAYS
  /** The way that is being tried. */
  next = 0

  constructor(private readonly took: (attempt: Attempt, result: number) => void) {}

  done(result: number): void {
    this.took(this, result)
  }
}

/** @returns 0, or -errno */
function discardNow(purpose: string, fd: number, offset: number, length: number): number {
  try {
    discardBlocks(purpose, fd, offset, length)
    return 0
  } catch (error) {
    if (error instanceof SystemCallError) return -error.errno
    throw error
  }
}
