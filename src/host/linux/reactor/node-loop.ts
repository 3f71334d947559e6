import { EventFd } from '../event-fd.ts'
import { type CFunction, cFunction, eventLoopAddress, pollInEventLoop } from '../ffi.ts'

const POLLIN = 1

/**
 * This thread's event loop of Node's, seen from outside, so that another loop can sleep for both of them.
 *
 * libuv is made for that: the descriptor it sleeps on can be watched, and it tells how long it would sleep.
 */
export class NodeLoop {
  /** Readable when the event loop has something to do. */
  readonly fd: number
  readonly #address: number
  readonly #timeout: CFunction
  readonly #updateTime: CFunction
  readonly #pollCall: CFunction
  /** What `poll` is asked about: struct pollfd. */
  readonly #descriptors: Int32Array
  /**
   * What brings a breath to its end. Not `setImmediate`: as long as one of those runs, libuv says that it would not sleep.
   * The watch also keeps the event loop from being one that has nothing to wait for, which says the same.
   */
  readonly #breath = EventFd.create('a breath')
  readonly #poll = pollInEventLoop(this.#breath.descriptor.fd, () => this.#breathed())
  #then: (() => void) | undefined

  constructor() {
    this.#address = eventLoopAddress()
    this.fd = cFunction('int uv_backend_fd(intptr_t loop)')(this.#address)
    this.#descriptors = Int32Array.of(this.fd, POLLIN)
    this.#pollCall = cFunction('int poll(void *descriptors, uint64_t count, int timeout)')
    this.#timeout = cFunction('int uv_backend_timeout(intptr_t loop)')
    this.#updateTime = cFunction('void uv_update_time(intptr_t loop)')
  }

  /** Whether it has something to do with its descriptors now; what made `fd` readable may be done already. */
  get busy(): boolean {
    return this.#pollCall(this.#descriptors, 1, 0) > 0
  }

  /** How many milliseconds it would sleep; 0 where it has something to do now. */
  get timeout(): number {
    const timeout = this.#timeout(this.#address)
    if (timeout <= 0) return timeout < 0 ? Number.POSITIVE_INFINITY : 0
    // Counted from when it last looked at the clock, which may be long ago.
    this.#updateTime(this.#address)
    const left = this.#timeout(this.#address)
    return left < 0 ? Number.POSITIVE_INFINITY : left
  }

  /**
   * Lets it do what it has to do now, and calls `then` from it.
   *
   * Not a promise: what follows would run among the microtasks, before others that its callbacks left behind. Called from
   * the event loop, it runs when all of those are done, and may sleep.
   */
  runNodeLoop(then: () => void): void {
    this.#then = then
    this.#breath.signal()
  }

  close(): void {
    this.#poll.close()
    this.#breath.close()
  }

  #breathed(): void {
    this.#breath.drain()
    const then = this.#then
    this.#then = undefined
    then?.()
  }
}
