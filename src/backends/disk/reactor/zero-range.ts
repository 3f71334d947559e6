import { discardBlocks } from '../../../host/linux/block-ioctl.ts'
import { Errno } from '../../../host/linux/errno.ts'
import { FallocateMode } from '../../../host/linux/posix.ts'
import type { Completion } from '../../../host/linux/reactor/operation.ts'
import type { Reactor } from '../../../host/linux/reactor/reactor.ts'
import { errnoName, SystemCallError } from '../../../host/linux/system-call-error.ts'
import { DiskOp, type DiskRequest } from '../../../services/disk.ts'
import type { SharedDiskFile } from './disk-file.ts'
import { zeroSpans } from './zeroes.ts'

/** Methods to erase a range, with their names in log lines. */
const Method = {
  /** Deallocates the range, which then reads as zeroes. */
  PUNCH: 'punching holes',
  /** Keeps the range allocated; it then reads as zeroes. */
  ZERO: 'zeroing ranges',
  /** Block devices only: deallocates the range, whose contents are then undefined. */
  DISCARD: 'discarding blocks',
  /** Fallback if the range must read as zeroes. */
  WRITE: 'writing zeroes',
} as const
type Method = (typeof Method)[keyof typeof Method]

/** Methods in the order of their use. A discard without a supported method succeeds: it is a hint. @virtio 5.2.6.2 */
const DISCARD_METHODS: readonly Method[] = [Method.PUNCH, Method.DISCARD]
const UNMAP_METHODS: readonly Method[] = [Method.PUNCH, Method.ZERO, Method.WRITE]
const ZERO_METHODS: readonly Method[] = [Method.ZERO, Method.WRITE]

const NOT_SUPPORTED: readonly number[] = [Errno.EOPNOTSUPP, Errno.ENOSYS, Errno.ENOTTY]

/** Discards and zeroes ranges through a reactor. A method that the file does not support is tried and logged once. */
export class RangeZeroing {
  /** Bytes of zeroes written because the file supports no faster method. */
  zeroesWritten = 0
  readonly #file: SharedDiskFile
  readonly #reactor: Reactor
  readonly #log: (line: string) => void
  readonly #unsupported = new Set<Method>()
  /** Attempts that are not in use. */
  readonly #free: Attempt[] = []
  readonly #done = (attempt: Attempt, result: number) => this.#finish(attempt, result)

  constructor(file: SharedDiskFile, reactor: Reactor, log: (line: string) => void) {
    this.#file = file
    this.#reactor = reactor
    this.#log = log
    if (!file.blockDevice) this.#unsupported.add(Method.DISCARD)
  }

  /** Methods that have not failed as unsupported. */
  get methods(): string[] {
    return Object.values(Method).filter((method) => !this.#unsupported.has(method))
  }

  /** Starts a discard or write of zeroes. `completion` receives 0, or -errno of the last method. */
  start(request: DiskRequest, completion: Completion): void {
    const attempt = this.#free.pop() ?? new Attempt(this.#done)
    attempt.request = request
    attempt.completion = completion
    attempt.methods = request.op === DiskOp.DISCARD ? DISCARD_METHODS : request.mayUnmap ? UNMAP_METHODS : ZERO_METHODS
    attempt.next = 0
    this.#advance(attempt)
  }

  /** Tries the next method that may be supported. */
  #advance(attempt: Attempt): void {
    const { request, methods } = attempt
    while (attempt.next < methods.length && this.#unsupported.has(methods[attempt.next])) attempt.next++
    if (!request || attempt.next === methods.length) {
      this.#end(attempt, 0)
      return
    }
    const { offset, length } = request
    const { fd, path } = this.#file
    switch (methods[attempt.next]) {
      case Method.PUNCH:
        this.#reactor.allocate(fd, FallocateMode.KEEP_SIZE | FallocateMode.PUNCH_HOLE, offset, length, attempt)
        break
      case Method.ZERO:
        this.#reactor.allocate(fd, FallocateMode.KEEP_SIZE | FallocateMode.ZERO_RANGE, offset, length, attempt)
        break
      case Method.DISCARD:
        attempt.done(discardNow(`discarding blocks of ${path}`, fd, offset, length))
        break
      case Method.WRITE:
        this.zeroesWritten += length
        this.#reactor.writeSpans(fd, offset, zeroSpans(length), attempt)
    }
  }

  #finish(attempt: Attempt, result: number): void {
    const method = attempt.methods[attempt.next]
    const unsupported = NOT_SUPPORTED.includes(-result)
    // EINVAL: a block device with blocks larger than 512 bytes refuses a range that is not a multiple of them.
    if (method !== Method.WRITE && (unsupported || result === -Errno.EINVAL)) {
      if (unsupported && !this.#unsupported.has(method)) {
        this.#unsupported.add(method)
        this.#log(`${this.#file.path}: ${method} is not supported (${errnoName(-result)})`)
      }
      attempt.next++
      this.#advance(attempt)
    } else if (method === Method.WRITE && result >= 0 && result < (attempt.request?.length ?? 0))
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

/** Request for which methods are being tried. Reused. */
class Attempt implements Completion {
  request: DiskRequest | undefined
  completion: Completion | undefined
  methods: readonly Method[] = DISCARD_METHODS
  /** Index of the method that is being tried. */
  next = 0

  constructor(private readonly finished: (attempt: Attempt, result: number) => void) {}

  done(result: number): void {
    this.finished(this, result)
  }
}

/** Discards blocks within this call. @returns 0, or -errno */
function discardNow(purpose: string, fd: number, offset: number, length: number): number {
  try {
    discardBlocks(purpose, fd, offset, length)
    return 0
  } catch (error) {
    if (error instanceof SystemCallError) return -error.errno
    throw error
  }
}
