import { readlinkSync } from 'node:fs'
import { Descriptor } from './descriptor.ts'
import { Errno } from './errno.ts'
import { addressOf, type CFunction, cFunction, errno } from './ffi.ts'
import { eventfd, FcntlCommand, fcntl, PollEvent } from './posix.ts'
import { SystemCallError } from './system-call-error.ts'

const EFD_CLOEXEC = 0x8_0000
const EFD_NONBLOCK = 0x800
const O_NONBLOCK = 0x800
const O_ACCMODE = 3
const O_RDWR = 2
const O_PATH = 0x20_0000
export const RWF_NOWAIT = 8

/** Link of every eventfd in `/proc/self/fd`. */
const EVENT_KIND = 'anon_inode:[eventfd]'

/** Value written to signal an event: a 64-bit 1, little-endian. */
export const EVENT = new Uint32Array([1, 0])
export const EVENT_BYTES = 8
/** Counter value that `drain` reads. */
const COUNT = new Uint32Array(2)
/** struct iovec that points to `COUNT`. */
const VECTOR = new BigUint64Array(2)
/** struct pollfd of `signal`. */
const POLL = new Int32Array(2)

let bound: { readonly write: CFunction; readonly preadv2: CFunction; readonly poll: CFunction } | undefined

/**
 * eventfd(2): a counter that wakes its watchers in this process and others.
 *
 *     const kick = EventFd.create('kick')
 *     kick.signal()
 *     kick.drain()                           // 1
 */
export class EventFd {
  private constructor(readonly descriptor: Descriptor) {}

  /** @param what name of the event, for messages */
  static create(what: string): EventFd {
    return new EventFd(new Descriptor(eventfd(`making ${what}`, 0, EFD_CLOEXEC | EFD_NONBLOCK), what))
  }

  /**
   * Wraps a descriptor from a peer. Takes ownership of it, even if the call fails.
   * @throws {Error} if the descriptor is not an eventfd, or cannot be read and written (O_PATH)
   */
  static fromDescriptor(descriptor: Descriptor): EventFd {
    try {
      const { fd, what } = descriptor
      const kind = readlinkSync(`/proc/self/fd/${fd}`)
      if (kind !== EVENT_KIND) throw new Error(`expected an eventfd, not ${kind}`)
      const flags = fcntl(`reading the flags of ${what}`, fd, FcntlCommand.GETFL, 0)
      if ((flags & (O_ACCMODE | O_PATH)) !== O_RDWR) throw new Error('the eventfd is not readable and writable')
      return new EventFd(descriptor)
    } catch (error) {
      descriptor.close()
      throw error
    }
  }

  /** True if a write may block now. Every process that holds the event can change that at any time. */
  get blocking(): boolean {
    return (
      (fcntl(`reading the flags of ${this.descriptor.what}`, this.descriptor.fd, FcntlCommand.GETFL, 0) &
        O_NONBLOCK) ===
      0
    )
  }

  /** Adds 1 to the counter. Does nothing if the counter is full, because a write to a blocking eventfd would wait. */
  signal(): void {
    const { write, poll } = calls()
    const fd = this.descriptor.fd
    POLL[0] = fd
    POLL[1] = PollEvent.OUT
    if (poll(POLL, 1, 0) === 0) return
    while (write(fd, EVENT, EVENT_BYTES) < 0) {
      const reason = errno()
      if (reason === Errno.EAGAIN) return
      if (reason !== Errno.EINTR) throw new SystemCallError('write', reason, `signalling ${this.descriptor.what}`)
    }
  }

  /** Resets the counter without waiting. @returns its value before */
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
