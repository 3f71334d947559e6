import { EventFd } from '../event-fd.ts'
import { type CFunction, cFunction, eventLoopAddress, pollInEventLoop } from '../ffi.ts'

const POLLIN = 1

/**
 * Node's event loop in this thread, as an event source of the reactor, which sleeps for both.
 *
 * libuv supports this: the descriptor that it sleeps on can be watched, and it returns how long it would sleep.
 */
export class NodeLoop {
  /** Readable when the event loop has something to do. */
  readonly fd: number
  readonly #address: number
  readonly #timeout: CFunction
  readonly #updateTime: CFunction
  readonly #pollCall: CFunction
  /** struct pollfd of `fd`. */
  readonly #descriptors: Int32Array
  /**
   * Event that calls `#then` from the event loop. `setImmediate` would not do: while one is pending, libuv's timeout is
   * 0. The timeout is also 0 for a loop that waits for nothing, which the poll of this event prevents.
   */
  readonly #wakeUp = EventFd.create('the wake-up of the event loop')
  readonly #poll = pollInEventLoop(this.#wakeUp.descriptor.fd, () => this.#wokenUp())
  #then: (() => void) | undefined

  constructor() {
    this.#address = eventLoopAddress()
    this.fd = cFunction('int uv_backend_fd(intptr_t loop)')(this.#address)
    this.#descriptors = Int32Array.of(this.fd, POLLIN)
    this.#pollCall = cFunction('int poll(void *descriptors, uint64_t count, int timeout)')
    this.#timeout = cFunction('int uv_backend_timeout(intptr_t loop)')
    this.#updateTime = cFunction('void uv_update_time(intptr_t loop)')
  }

  /** True if a descriptor of the event loop is ready now. A readable `fd` alone may be out of date. */
  get busy(): boolean {
    return this.#pollCall(this.#descriptors, 1, 0) > 0
  }

  /** How many milliseconds the event loop would sleep; 0 if it has work now. */
  get timeout(): number {
    const timeout = this.#timeout(this.#address)
    if (timeout <= 0) return timeout < 0 ? Number.POSITIVE_INFINITY : 0
    // libuv counts from its last reading of the clock, which may be long ago.
    this.#updateTime(this.#address)
    const updated = this.#timeout(this.#address)
    return updated < 0 ? Number.POSITIVE_INFINITY : updated
  }

  /**
   * Runs the event loop's current work, then calls `then` from the loop.
   *
   * Does not return a promise: its continuation would be a microtask and run before other pending ones. `then` runs
   * when no microtask is pending, so it may sleep.
   */
  runNodeLoop(then: () => void): void {
    this.#then = then
    this.#wakeUp.signal()
  }

  close(): void {
    this.#poll.close()
    this.#wakeUp.close()
  }

  #wokenUp(): void {
    this.#wakeUp.drain()
    const then = this.#then
    this.#then = undefined
    then?.()
  }
}
