import type { EventFd } from '../event-fd.ts'
import type { Operation } from './operation.ts'
import type { Interest, ReactorKind } from './reactor.ts'

/** Watch of one descriptor. */
export interface BackendWatch {
  readonly fd: number
  readonly interest: Interest
  readonly closed: boolean
  readonly ready: () => void
}

/** Kernel interface of a reactor, implemented with `io_uring` and with `epoll`. */
export interface ReactorBackend {
  readonly kind: ReactorKind
  /** Number of reads and writes that blocked the thread until the disk answered. */
  readonly slowCalls: number
  /** Starts a watch, whose `ready` is called within `turn`. */
  watch(watch: BackendWatch): void
  /** Ends a watch that was closed. */
  unwatch(watch: BackendWatch): void
  /** Signals now or at the start of the next `turn`. */
  signal(event: EventFd): void
  /** Starts an operation, and again while `advance` returns true, within this call or `turn`. */
  start(operation: Operation): void
  /**
   * Starts all operations, sleeps until an event or the timeout, and calls the listeners.
   * @param timeout milliseconds; 0 to return at once, Infinity for no limit
   * @returns 1 if an event happened, 0 if not, -1 if a signal interrupted the sleep
   */
  turn(timeout: number): 1 | 0 | -1
  close(): void
}
