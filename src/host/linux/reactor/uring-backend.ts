import { Errno } from '../errno.ts'
import { EVENT, EVENT_BYTES, type EventFd, RWF_NOWAIT } from '../event-fd.ts'
import { addressOf } from '../ffi.ts'
import { FileCalls } from './file-calls.ts'
import { type Operation, OperationKind } from './operation.ts'
import { Interest } from './reactor.ts'
import type { BackendWatch, ReactorBackend } from './reactor-backend.ts'
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
/** Offset for files that cannot seek. */
const CURRENT_POSITION = -1

const EVENTS = {
  [Interest.READABLE]: POLLIN | POLLRDHUP,
  [Interest.WRITABLE]: POLLOUT,
  [Interest.EDGE]: POLLIN,
} as const

/** Maximum bytes of a write by this thread: a larger one would delay other work too long. */
const MAX_CALL_BYTES = 256 << 10
/** Time after a call that waited for the disk during which the ring does all writes. */
const WRITES_IN_RING_MS = 250

/** Tag of entries whose result is ignored. */
const NO_TARGET_TAG = 0
const NO_TARGET: Target = { completed() {} }

/**
 * Backend with one `io_uring`: a turn is one system call.
 *
 * Writes to the page cache are an exception. Many file systems (ext4 is one) cannot do them without blocking, so the
 * ring passes each to a kernel thread, whose wake-up costs more than the write. This thread does them with system calls
 * instead, unless one recently waited for the disk.
 */
export class UringBackend implements ReactorBackend {
  readonly kind = 'io_uring'
  readonly #ring = new Uring()
  readonly #calls: FileCalls
  /** Time until which the ring does all writes, on the clock of `performance.now`; 0 if it does not. */
  #writesInRingUntil = 0
  /** Receivers of results, by tag. */
  readonly #targets: Target[] = [NO_TARGET]
  readonly #freeTags: number[] = []
  readonly #polls = new Map<BackendWatch, Poll>()
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

  watch(watch: BackendWatch): void {
    const tag = this.#freeTags.pop() ?? this.#targets.length
    const poll = new Poll(watch, tag, this.#rearm, this.#forget)
    this.#targets[tag] = poll
    this.#polls.set(watch, poll)
    this.#arm(poll)
  }

  unwatch(watch: BackendWatch): void {
    const poll = this.#polls.get(watch)
    // A poll that has fired and is not armed again need not be removed: it checks whether the watch is closed.
    if (poll?.armed) this.#ring.add(OP_POLL_REMOVE, -1, 0, poll.tag, 0, 0, NO_TARGET_TAG, SKIP_SUCCESS)
  }

  signal(event: EventFd): void {
    // A kernel thread would write to a blocking eventfd, and behind a full batch the signal would wait for it.
    if (event.blocking || this.#ring.behind) event.signal()
    else {
      const fd = event.descriptor.fd
      this.#ring.add(OP_WRITE, fd, CURRENT_POSITION, this.#event, EVENT_BYTES, RWF_NOWAIT, NO_TARGET_TAG, SKIP_SUCCESS)
    }
  }

  start(operation: Operation): void {
    const { kind, direct, remaining } = operation
    if (kind === OperationKind.WRITE && !direct && remaining <= MAX_CALL_BYTES && !this.#ringDoesWrites())
      this.#calls.add(operation)
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
      this.#writesInRingUntil = performance.now() + WRITES_IN_RING_MS
      for (const operation of this.#calls.take()) this.#start(operation)
    }
    const calm = this.#ring.enter(called ? 0 : timeout)
    const happened = this.#ring.reap(this.#targets) || called
    if (!calm) return -1
    return happened ? 1 : 0
  }

  close(): void {
    this.#ring.close()
    // The ring is closed: `unwatch` must not add an entry.
    for (const poll of this.#polls.values()) poll.armed = false
  }

  /** True if a write waited for the disk recently. */
  #ringDoesWrites(): boolean {
    if (this.#writesInRingUntil > 0 && performance.now() >= this.#writesInRingUntil) this.#writesInRingUntil = 0
    return this.#writesInRingUntil > 0
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
        // The length takes the place of the address. io_uring_enter(2)
        ring.add(OP_FALLOCATE, fd, offset, operation.length, operation.mode, 0, tag)
    }
  }
}

/** Watch in the ring. Its tag can be reused only after its last result. */
class Poll implements Target {
  /** True while the kernel holds the poll. */
  armed = false

  constructor(
    readonly watch: BackendWatch,
    readonly tag: number,
    private readonly rearm: (poll: Poll) => void,
    private readonly forget: (poll: Poll) => void,
  ) {}

  completed(result: number, more: boolean): void {
    if (!more) this.armed = false
    if (!this.watch.closed) this.watch.ready()
    if (more) return
    // EBADF ends the watch. `ready` was called, and reading from the descriptor returns the error.
    if (this.watch.closed || result === -Errno.EBADF) this.forget(this)
    else this.rearm(this)
  }
}

/** Operation in the ring. */
class Started implements Target {
  constructor(
    private readonly operation: Operation,
    private readonly again: (operation: Operation) => void,
  ) {}

  completed(result: number): void {
    if (this.operation.advance(result)) this.again(this.operation)
  }
}
