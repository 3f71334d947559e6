import type { SpanList } from '../../../memory/span-list.ts'
import type { EventFd } from '../event-fd.ts'
import type { Completion } from './operation.ts'

/** Kernel interface of a reactor: one io_uring for everything, or epoll and one system call an operation. */
export type ReactorKind = 'io_uring' | 'epoll'

/** Condition on which a watch calls its listener. */
export const Interest = {
  /** While there is something to read; also at end of file and on errors, which a read returns. */
  READABLE: 'readable',
  /** While there is room to write. */
  WRITABLE: 'writable',
  /**
   * Once for each event, whether earlier ones were read or not, and possibly once more. For an EventFd whose counter
   * does not matter: it need not be drained.
   */
  EDGE: 'edge',
} as const
export type Interest = (typeof Interest)[keyof typeof Interest]

/** Resource that is released by `close`. Afterwards it calls no listener, not even for earlier events. */
export interface Closable {
  close(): void
}

/** Source of work that is found by polling memory: the rings of a driver. */
export interface Poller {
  /** Serves available work; notifications may be disabled until `stopPolling`. @returns true if there was any */
  poll(): boolean
  /** Called before the thread sleeps: enables notifications, and serves what came before they were enabled. */
  stopPolling(): void
}

/**
 * Reactor: the only place where a thread waits, for kicks, sockets, interrupts, disk I/O, timers and the stop signal.
 *
 *     const reactor = createReactor()
 *     reactor.watch(stream.fd, () => receiveFrom(stream))
 *     reactor.onTurn(() => publishAll())
 *     await reactor.run()                    // until stop()
 *     reactor.close()
 *
 * A turn calls the hooks, sleeps until an event happens, and calls its listeners. While a turn sleeps, nothing else
 * runs in this thread except Node's event loop, when it has work: timers, messages, signals, callbacks of `node:fs`.
 * Microtasks run only then. `settle(promise)` runs them after every turn until the promise settles,
 * `keepMicrotasksRunning()` until closed.
 */
export interface Reactor {
  readonly kind: ReactorKind
  /** Number of reads and writes that blocked this thread until the disk answered. */
  readonly slowCalls: number
  /** Calls `ready` when the descriptor is ready. The descriptor is borrowed: close the watch before it. */
  watch(fd: number, ready: () => void, interest?: Interest): Closable
  /** Signals the event once at the end of the turn, however often this is called. */
  signal(event: EventFd): void
  /**
   * Reads from a file into guest memory, until all spans are full or the file ends. The spans must lie in mappings
   * (`MappedRegion`) and stay unchanged until `completion` is called, within this call or a later turn.
   */
  readSpans(fd: number, offset: number, spans: SpanList, completion: Completion): void
  /**
   * Writes guest memory to a file, under the same conditions as `readSpans`.
   * @param direct true for a file opened with O_DIRECT. @default false
   */
  writeSpans(fd: number, offset: number, spans: SpanList, completion: Completion, direct?: boolean): void
  /** Makes earlier writes to a file durable; fdatasync(2). */
  sync(fd: number, completion: Completion): void
  /** Allocates, deallocates or zeroes a range of a file; fallocate(2). */
  allocate(fd: number, mode: number, offset: number, length: number, completion: Completion): void
  /** Calls `fire` once, after `milliseconds` or a little later. */
  timer(milliseconds: number, fire: () => void): Closable
  /**
   * Calls `hook` before each sleep, for work that is done once for many events. If it returns true, there is more to
   * do, and the turn does not sleep.
   */
  onTurn(hook: () => boolean | undefined): Closable
  /** Polls this source before each sleep, if the reactor was created with a polling time. */
  poll(poller: Poller): Closable
  /** Runs microtasks after every turn until closed. This costs some microseconds a turn. */
  keepMicrotasksRunning(): Closable
  /** Runs microtasks after every turn until this promise settles. */
  settle(promise: Promise<unknown>): void
  /** Takes turns until `stop`. Rejects with the error that a callback throws. */
  run(): Promise<void>
  /** Ends `run` after this turn. Other threads and signal handlers use `StopSignal`. */
  stop(): void
  /**
   * Releases all resources. Afterwards every call throws, except `close` of its watches, timers and hooks.
   * @throws {Error} while `run` is active
   */
  close(): void
}
