import { type CFunction, cFunction, eventLoopAddress } from '../ffi.ts'

/** Longer than any reactor lives, and the longest that Node's timers know. */
const FOR_EVER_MS = 0x7fff_ffff

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
  /** An event loop without anything to wait for says that it would not sleep at all. */
  readonly #alive = setInterval(() => {}, FOR_EVER_MS)

  constructor() {
    this.#address = eventLoopAddress()
    this.fd = cFunction('int uv_backend_fd(intptr_t loop)')(this.#address)
    this.#timeout = cFunction('int uv_backend_timeout(intptr_t loop)')
    this.#updateTime = cFunction('void uv_update_time(intptr_t loop)')
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

  /** Lets it do what it has to do now. */
  breathe(): Promise<void> {
    return new Promise((resolve) => {
      setImmediate(resolve)
    })
  }

  close(): void {
    clearInterval(this.#alive)
  }
}
