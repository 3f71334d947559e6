import type { EventFd } from '../event-fd.ts'
import type { Operation } from './operation.ts'
import type { Interest, ReactorKind } from './reactor.ts'

/** A watch as a port sees it. */
export interface PortWatch {
  readonly fd: number
  readonly interest: Interest
  readonly closed: boolean
  readonly ready: () => void
}

/** What a reactor needs of the kernel; what differs between `io_uring` and `epoll`. */
export interface ReactorBackend {
  readonly kind: ReactorKind
  /** Reads and writes that kept the thread waiting for the disk. */
  readonly slowCalls: number
  /** Calls the watch's `ready` from now on, within `turn`. */
  watch(watch: PortWatch): void
  /** The watch is closed. */
  unwatch(watch: PortWatch): void
  /** Signals now or at the start of the next `turn`. */
  signal(event: EventFd): void
  /** Starts an operation, and starts it again until it `took` its last result, within this call or `turn`. */
  start(operation: Operation): void
  /**
   * Starts all operations, sleeps until an event or the timeout, and calls the listeners.
   * @param timeout milliseconds; 0 not to sleep, Infinity for as long as it takes
   * @returns whether something happened; -1 where a signal to this process came between
   */
  turn(timeout: number): 1 | 0 | -1
  close(): void
}
