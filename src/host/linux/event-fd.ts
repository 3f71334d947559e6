import { readlinkSync } from 'node:fs'
import { Descriptor } from './descriptor.ts'
import { Errno } from './errno.ts'
import { addressOf, type CFunction, cFunction, errno } from './ffi.ts'
import { systemCall } from './system-call.ts'
import { SystemCallError } from './system-call-error.ts'

const EFD_CLOEXEC = 0x8_0000
const EFD_NONBLOCK = 0x800
const O_NONBLOCK = 0x800
const O_ACCMODE = 3
const O_RDWR = 2
const O_PATH = 0x20_0000
const F_GETFL = 3
export const RWF_NOWAIT = 8
const POLLOUT = 4

const eventfd = systemCall<[initial: number, flags: number]>('int eventfd(uint32_t initial, int flags)')
const fcntl = systemCall<[fd: number, command: number]>('int fcntl(int fd, int command)')

/** What `/proc` calls every event. */
const EVENT_KIND = 'anon_inode:[eventfd]'

/** An event is a 1 of 64 bits, written. */
export const EVENT = new Uint32Array([1, 0])
export const EVENT_BYTES = 8
/** Where counts are read to, and the vector that says so. */
const COUNT = new Uint32Array(2)
const VECTOR = new BigUint64Array(2)
const POLL = new Int32Array(2)

let bound: { readonly write: CFunction; readonly preadv2: CFunction; readonly poll: CFunction } | undefined

/**
 * Counter that wakes its watcher, in this process or another.
 *
 *     const kick = EventFd.create('kick')
 *     kick.signal()
 *     kick.drain()                           // 1
 */
export class EventFd {
  private constructor(readonly descriptor: Descriptor) {}

  /** @param what it is for, for messages */
  static create(what: string): EventFd {
    return new EventFd(new Descriptor(eventfd(`making ${what}`, 0, EFD_CLOEXEC | EFD_NONBLOCK), what))
  }

  /**
   * The event behind a descriptor of a peer. It owns the descriptor, which is closed where this fails.
   * @throws {Error} where the descriptor is no event, or one that cannot be read and written (O_PATH)
   */
  static fromDescriptor(descriptor: Descriptor): EventFd {
    try {
      const { fd, what } = descriptor
      const kind = readlinkSync(`/proc/self/fd/${fd}`)
      if (kind !== EVENT_KIND) throw new Error(`${kind} where an eventfd belongs`)
      const flags = fcntl(`looking at ${what}`, fd, F_GETFL)
      if ((flags & (O_ACCMODE | O_PATH)) !== O_RDWR) throw new Error('an eventfd that cannot be used')
      return new EventFd(descriptor)
    } catch (error) {
      descriptor.close()
      throw error
    }
  }

  /** Whether writing to it may block now. Every process that has the event can change that at any time. */
  get blocking(): boolean {
    return (fcntl(`looking at ${this.descriptor.what}`, this.descriptor.fd, F_GETFL) & O_NONBLOCK) === 0
  }

  /** Adds an event. One whose count is full stays as it is: a peer may have made it one that blocks. */
  signal(): void {
    const { write, poll } = calls()
    const fd = this.descriptor.fd
    POLL[0] = fd
    POLL[1] = POLLOUT
    if (poll(POLL, 1, 0) === 0) return
    while (write(fd, EVENT, EVENT_BYTES) < 0) {
      const reason = errno()
      if (reason === Errno.EAGAIN) return
      if (reason !== Errno.EINTR) throw new SystemCallError('write', reason, `signalling ${this.descriptor.what}`)
    }
  }

  /** Takes all events at once. @returns how many, 0 where there is none; it never waits */
  drain(): number {
    const { preadv2 } = calls()
    while (preadv2(this.descriptor.fd, VECTOR, 1, -1, RWF_NOWAIT) < 0) {
      const reason = errno()
      if (reason === Errno.EAGAIN) return 0
      if (reason !== Errno.EINTR) throw new SystemCallError('preadv2', reason, `reading ${this.descriptor.what}`)
    }
    return COUNT[0] + COUNT[1] * 2 ** 32
  }

  close(): void {
    this.descriptor.close()
  }
}

function calls() {
  if (bound) return bound
  VECTOR[0] = BigInt(addressOf(COUNT))
  VECTOR[1] = BigInt(EVENT_BYTES)
  bound = {
    write: cFunction('int64_t write(int fd, const void *bytes, size_t length)'),
    preadv2: cFunction('int64_t preadv2(int fd, const void *vectors, int count, int64_t offset, int flags)'),
    poll: cFunction('int poll(void *descriptors, uint64_t count, int timeout)'),
  }
  return bound
}
