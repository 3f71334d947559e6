import { Errno } from '../errno.ts'
import { EVENT, EVENT_BYTES, type EventFd, RWF_NOWAIT } from '../event-fd.ts'
import { addressOf } from '../ffi.ts'
import { FileCalls } from './file-calls.ts'
import { type Operation, OperationKind } from './operation.ts'
import { Interest } from './reactor.ts'
import type { PortWatch, ReactorBackend } from './reactor-backend.ts'
import { SKIP_SUCCESS, type Target, Uring } from './uring.ts'

const OP_READV = 1
const OP_WRITEV = 2
const OP_FSYNC = 3
const OP_POLL_ADD = 6
const OP_POLL_REMOVE = 7
const OP_FALLOCATE = 17
const OP_READ = 22
const OP_WRITE = 23
const FSYNC_DATASYNC = 1
const POLL_ADD_MULTI = 1
const POLLIN = 0x001
const POLLOUT = 0x004
const POLLRDHUP = 0x2000
/** The position of a file that has one of its own, or none. */
const CURRENT_POSITION = -1

const EVENTS = {
  [Interest.READABLE]: POLLIN | POLLRDHUP,
  [Interest.WRITABLE]: POLLOUT,
  [Interest.EDGE]: POLLIN,
} as const

/** Larger writes keep this thread from everything else for too long. */
const MAX_CALL_BYTES = 256 << 10
/** For so long after a call that had to wait for the disk, writes are the ring's. */
const WARY_MS = 250

/** Tag of entries whose result is ignored. */
const NO_TARGET_TAG = 0
const NO_TARGET: Target = { completed() {} }

/**
 * Everything through one `io_uring`: a turn is one system call.
 *
 * But for writes to the page cache. Many file systems cannot say at once that such a write would have to wait (ext4 can not), so
 * that the ring gives each to a thread of the kernel's, and to wake that costs more than the write. They are made by system calls
 * of this thread, as long as none has to wait for the disk.
 */
export class UringBackend implements ReactorBackend {
  readonly kind = 'io_uring'
  readonly #ring = new Uring()
  readonly #calls: FileCalls
  /** Until when writes are the ring's; 0 where they are not. */
  #wary = 0
  /** By tag. */
  readonly #targets: Target[] = [NO_TARGET]
  readonly #freeTags: number[] = []
  readonly #polls = new Map<PortWatch, Poll>()
  readonly #event = addressOf(EVENT)
  readonly #rearm = (poll: Poll) => this.#arm(poll)
  readonly #forget = (poll: Poll) => {
    this.#polls.delete(poll.watch)
    this.#targets[poll.tag] = NO_TARGET
    this.#freeTags.push(poll.tag)
  }

  constructor(calls = new FileCalls()) {
    this.#calls = calls
  }

  get slowCalls(): number {
    return this.#calls.slow
  }

  watch(watch: PortWatch): void {
    const tag = this.#freeTags.pop() ?? this.#targets.length
    const poll = new Poll(watch, tag, this.#rearm, this.#forget)
    this.#targets[tag] = poll
    this.#polls.set(watch, poll)
    this.#arm(poll)
  }

  unwatch(watch: PortWatch): void {
    const poll = this.#polls.get(watch)
    // While one that has fired is not armed again there is nothing to remove: it sees that the watch is closed.
    if (poll?.armed) this.#ring.add(OP_POLL_REMOVE, -1, 0, poll.tag, 0, 0, NO_TARGET_TAG, SKIP_SUCCESS)
  }

  signal(event: EventFd): void {
    // Writing to one that may block would take a thread of the kernel's; and it shall not wait behind what is to be moved.
    if (event.blocking || this.#ring.behind) event.signal()
    else {
      const fd = event.descriptor.fd
      this.#ring.add(OP_WRITE, fd, CURRENT_POSITION, this.#event, EVENT_BYTES, RWF_NOWAIT, NO_TARGET_TAG, SKIP_SUCCESS)
    }
  }

  start(operation: Operation): void {
    const { kind, direct, left } = operation
    if (kind === OperationKind.WRITE && !direct && left <= MAX_CALL_BYTES && !this.#isWary()) this.#calls.add(operation)
    else this.#start(operation)
  }

  #start(operation: Operation): void {
    if (operation.tag < 0) {
      operation.tag = this.#freeTags.pop() ?? this.#targets.length
      this.#targets[operation.tag] = new Started(operation, (again) => this.#submit(again))
    }
    this.#submit(operation)
  }

  turn(timeout: number): 1 | 0 | -1 {
    const { slow } = this.#calls
    const called = this.#calls.turn()
    if (this.#calls.slow > slow) {
      this.#wary = performance.now() + WARY_MS
      for (const operation of this.#calls.take()) this.#start(operation)
    }
    const calm = this.#ring.enter(called ? 0 : timeout)
    const happened = this.#ring.reap(this.#targets) || called
    if (!calm) return -1
    return happened ? 1 : 0
  }

  close(): void {
    this.#ring.close()
    // There is nothing to remove from any more.
    for (const poll of this.#polls.values()) poll.armed = false
  }

  /** Whether writes had to wait lately. */
  #isWary(): boolean {
    if (this.#wary > 0 && performance.now() >= this.#wary) this.#wary = 0
    return this.#wary > 0
  }

  #arm(poll: Poll): void {
    const { fd, interest } = poll.watch
    const length = interest === Interest.EDGE ? POLL_ADD_MULTI : 0
    poll.armed = true
    this.#ring.add(OP_POLL_ADD, fd, 0, 0, length, EVENTS[interest], poll.tag)
  }

  #submit(operation: Operation): void {
    const ring = this.#ring
    const { fd, offset, tag } = operation
    switch (operation.kind) {
      case OperationKind.READ:
      case OperationKind.WRITE: {
        const reads = operation.kind === OperationKind.READ
        if (operation.vectorCount === 1) {
          ring.add(reads ? OP_READ : OP_WRITE, fd, offset, operation.firstAddress, operation.firstLength, 0, tag)
        } else {
          const { vectorsAddress, vectorCount } = operation
          ring.add(reads ? OP_READV : OP_WRITEV, fd, offset, vectorsAddress, vectorCount, 0, tag)
        }
        break
      }
      case OperationKind.SYNC:
        ring.add(OP_FSYNC, fd, 0, 0, 0, FSYNC_DATASYNC, tag)
        break
      case OperationKind.ALLOCATE:
        // The length goes where other operations have an address. io_uring_enter(2)
        ring.add(OP_FALLOCATE, fd, offset, operation.length, operation.mode, 0, tag)
    }
  }
}

/** A watch in the ring. Its tag is free again only when the last of its results is there. */
class Poll implements Target {
  /** The kernel has it. */
  armed = false

  constructor(
    readonly watch: PortWatch,
    readonly tag: number,
    private readonly rearm: (poll: Poll) => void,
    private readonly forget: (poll: Poll) => void,
  ) {}

  completed(result: number, more: boolean): void {
    if (!more) this.armed = false
    if (!this.watch.closed) this.watch.ready()
    if (more) return
    // A descriptor that cannot be watched counts as closed: reading from it gives the reason.
    if (this.watch.closed || result === -Errno.EBADF) this.forget(this)
    else this.rearm(this)
  }
}

/** An operation in the ring. */
class Started implements Target {
  constructor(
    private readonly operation: Operation,
    private readonly again: (operation: Operation) => void,
  ) {}

  completed(result: number): void {
    if (this.operation.took(result)) this.again(this.operation)
  }
}
