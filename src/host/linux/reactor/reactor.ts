import type { SpanList } from '../../../memory/span-list.ts'
import type { EventFd } from '../event-fd.ts'
import type { Completion } from './operation.ts'

/** What carries a reactor: one ring of the kernel for everything, or `epoll` and a system call for each thing. */
export type ReactorKind = 'io_uring' | 'epoll'

/** When a watch calls. */
export const Interest = {
  /** Whenever there is something to read, for as long as there is; also at the end and at errors, which reading tells. */
  READABLE: 'readable',
  /** Whenever there is room to write, for as long as there is. */
  WRITABLE: 'writable',
  /**
   * Once for each time something came, whether what came before was read or not, and perhaps once more. For an EventFd of
   * which only the news matters: nobody has to drain it.
   */
  EDGE: 'news',
} as const
export type Interest = (typeof Interest)[keyof typeof Interest]

/** Something that ends by being closed. After `close` it calls no more, not even for what had happened before. */
export interface Closable {
  close(): void
}

/** Work that is seen in memory by whoever looks: rings of a driver. */
export interface Poller {
  /** Does what there is to do; nobody need tell of more until `rest`. @returns whether there was something */
  poll(): boolean
  /** The thread is about to sleep: whoever has more is to tell, and what came before it knew that is done now. */
  stopPolling(): void
}

/**
 * One thread's only place to wait: kicks, sockets, interrupts, disk I/O, timers and the signal to stop, in turns.
 *
 *     const reactor = createReactor()
 *     reactor.watch(stream.fd, () => receiveFrom(stream))
 *     reactor.onTurn(() => publishAll())
 *     await reactor.run()                    // until stop()
 *     reactor.close()
 *
 * A turn calls the hooks, sleeps until something happened, and calls whoever waits for it. While a turn sleeps nothing else
 * runs in this thread. Node's own event loop does as soon as it has something to do: timers, messages, signals, callbacks
 * of `node:fs`. Promises run then too, and not before: who waits for one tells `settle`, who needs them always `attend`.
 */
export interface Reactor {
  readonly kind: ReactorKind
  /** Reads and writes, made by a call of this thread, that had to wait for the disk: everything else waited with them. */
  readonly slowCalls: number
  /** Calls `ready` when the descriptor is. It is borrowed: close the watch before the descriptor. */
  watch(fd: number, ready: () => void, interest?: Interest): Closable
  /** Signals at the end of the turn, once, however often it is asked to. */
  signal(event: EventFd): void
  /**
   * Reads from a file into guest memory, until all of the spans is full or the file ends. They must lie in mappings
   * (`MappedRegion`), and stay as they are until `completion` is told: within this call or a later turn.
   */
  readSpans(fd: number, offset: number, spans: SpanList, completion: Completion): void
  /**
   * Writes guest memory to a file; the same as above.
   * @param direct the file is one that waits for the disk (O_DIRECT), rather than writing to the page cache
   */
  writeSpans(fd: number, offset: number, spans: SpanList, completion: Completion, direct?: boolean): void
  /** Makes what was written to a file stay; fdatasync(2). */
  sync(fd: number, completion: Completion): void
  /** Changes how a file keeps a range of it; fallocate(2). */
  allocate(fd: number, mode: number, offset: number, length: number, completion: Completion): void
  /** Calls `fire` once, in so many milliseconds or a little later. */
  timer(milliseconds: number, fire: () => void): Closable
  /**
   * Calls `hook` before each sleep, for what is best done once for many events. Where it returns true there is more to do
   * at once, and nobody sleeps.
   */
  onTurn(hook: () => boolean | undefined): Closable
  /** Looks for this work too in the moments before a sleep, where the reactor was made to have such. */
  poll(poller: Poller): Closable
  /** Lets promises and microtasks run after every turn until closed: some microseconds each, for devices that need it. */
  keepMicrotasksRunning(): Closable
  /** Does the same until this promise is settled. */
  settle(promise: Promise<unknown>): void
  /** Takes turns until `stop`. Rejects with what a callback throws. */
  run(): Promise<void>
  /** Ends `run` after this turn. From another thread or a signal: `StopSignal`. */
  stop(): void
  /**
   * Gives everything back. Afterwards it refuses what it is asked for, and what it gave out can still be closed.
   * @throws {Error} while it runs
   */
  close(): void
}
