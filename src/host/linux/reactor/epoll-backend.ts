import { fdatasync } from 'node:fs'
import { Descriptor } from '../descriptor.ts'
import { Errno } from '../errno.ts'
import type { EventFd } from '../event-fd.ts'
import { type CFunction, cFunction, errno } from '../ffi.ts'
import { epollCreate, epollCtl } from '../posix.ts'
import { SystemCallError } from '../system-call-error.ts'
import { FileCalls } from './file-calls.ts'
import { type Operation, OperationKind } from './operation.ts'
import { Interest } from './reactor.ts'
import type { BackendWatch, ReactorBackend } from './reactor-backend.ts'

const EPOLL_CLOEXEC = 0x8_0000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLL_CTL_MOD = 3
const EPOLLIN = 0x001
const EPOLLOUT = 0x004
const EPOLLERR = 0x008
const EPOLLHUP = 0x010
const EPOLLRDHUP = 0x2000
const EPOLLET = 0x8000_0000

// struct epoll_event: 12 bytes on x86, where it is packed; 16 elsewhere                        epoll_ctl(2)
//
//   0        4             8        12          16
//   | events | data: descriptor, generation |        x86
//   | events |             | descriptor, generation |  elsewhere
//
const EVENT_WORDS = process.arch === 'x64' ? 3 : 4
const DATA = EVENT_WORDS - 2
/** Maximum number of events in one turn. */
const MAX_EVENTS = 64

/** All watches of one descriptor: the kernel has one entry for them. */
interface Entry {
  readonly fd: number
  /** Distinguishes this entry from earlier ones with the same descriptor number, whose events may be pending. */
  readonly generation: number
  readonly watches: BackendWatch[]
}

/** Backend that waits with `epoll` and performs each operation with its own system call. */
export class EpollBackend implements ReactorBackend {
  readonly kind = 'epoll'
  readonly #epoll = new Descriptor(epollCreate('creating an epoll', EPOLL_CLOEXEC), 'epoll')
  readonly #wait: CFunction = cFunction('int epoll_wait(int epoll, void *events, int most, int timeout)')
  readonly #events = new Uint32Array(EVENT_WORDS * MAX_EVENTS)
  readonly #event = new Uint32Array(EVENT_WORDS)
  readonly #calls = new FileCalls()
  readonly #fallocate = cFunction('int fallocate(int fd, int mode, int64_t offset, int64_t length)')
  readonly #entries = new Map<number, Entry>()
  #generation = 0

  get slowCalls(): number {
    return this.#calls.slow
  }

  watch(watch: BackendWatch): void {
    const { fd } = watch
    const entry = this.#entries.get(fd)
    if (entry) {
      entry.watches.push(watch)
      this.#control(EPOLL_CTL_MOD, entry)
      return
    }
    this.#generation = (this.#generation + 1) >>> 0
    const made = { fd, generation: this.#generation, watches: [watch] }
    this.#control(EPOLL_CTL_ADD, made)
    this.#entries.set(fd, made)
  }

  unwatch(watch: BackendWatch): void {
    const entry = this.#entries.get(watch.fd)
    const index = entry?.watches.indexOf(watch) ?? -1
    if (!entry || index < 0) return
    entry.watches.splice(index, 1)
    if (entry.watches.length > 0) {
      this.#control(EPOLL_CTL_MOD, entry)
      return
    }
    this.#entries.delete(entry.fd)
    this.#control(EPOLL_CTL_DEL, entry)
  }

  signal(event: EventFd): void {
    event.signal()
  }

  start(operation: Operation): void {
    switch (operation.kind) {
      case OperationKind.SYNC:
        // fdatasync may take long: one of Node's threads runs it, and the event loop calls back.
        fdatasync(operation.fd, (error) => {
          if (operation.advance(error ? -(error.errno === undefined ? Errno.EIO : Math.abs(error.errno)) : 0))
            this.start(operation)
        })
        break
      case OperationKind.ALLOCATE:
        while (operation.advance(this.#allocate(operation))) {}
        break
      default:
        this.#calls.add(operation)
    }
  }

  turn(timeout: number): 1 | 0 | -1 {
    const events = this.#events
    const moved = this.#calls.turn()
    // Rounded up: after a wake-up before the deadline, turns would not sleep until it is reached.
    const unlimited = timeout === Number.POSITIVE_INFINITY
    const milliseconds = moved ? 0 : unlimited ? -1 : Math.min(Math.ceil(timeout), 0x7fff_ffff)
    const count = this.#wait(this.#epoll.fd, events, MAX_EVENTS, milliseconds)
    if (count < 0) {
      const reason = errno()
      if (reason === Errno.EINTR) return -1
      throw new SystemCallError('epoll_wait', reason, 'waiting')
    }
    for (let i = 0, at = 0; i < count; i++, at += EVENT_WORDS) {
      const entry = this.#entries.get(events[at + DATA])
      if (entry?.generation === events[at + DATA + 1]) dispatch(entry, events[at])
    }
    return moved || count > 0 ? 1 : 0
  }

  close(): void {
    this.#epoll.close()
  }

  /** @returns result of the system call, or -errno */
  #allocate({ fd, mode, offset, length }: Operation): number {
    const result = this.#fallocate(fd, mode, offset, length)
    return result < 0 ? -errno() : result
  }

  #control(operation: number, entry: Entry): void {
    let events = 0
    for (const watch of entry.watches) events |= EVENTS[watch.interest]
    this.#event[0] = events >>> 0
    this.#event[DATA] = entry.fd
    this.#event[DATA + 1] = entry.generation
    try {
      epollCtl('watching a descriptor', this.#epoll.fd, operation, entry.fd, this.#event)
    } catch (error) {
      // The descriptor was closed before its watch, so the kernel removed it from the epoll.
      if (operation === EPOLL_CTL_ADD) throw error
    }
  }
}

const EVENTS = {
  [Interest.READABLE]: EPOLLIN | EPOLLRDHUP,
  [Interest.WRITABLE]: EPOLLOUT,
  [Interest.EDGE]: EPOLLIN | EPOLLET,
} as const

function dispatch(entry: Entry, events: number): void {
  for (let i = entry.watches.length - 1; i >= 0; i--) {
    // A listener may close any watch.
    const watch = entry.watches.at(i)
    if (watch && (events & (EVENTS[watch.interest] | EPOLLERR | EPOLLHUP)) !== 0) watch.ready()
  }
}
