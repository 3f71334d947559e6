import { MessageChannel } from 'node:worker_threads'
import { type CFunction, cFunction, eventLoopAddress } from '../ffi.ts'

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
  /** Whoever waits for the event loop to have run. */
  #waiting: (() => void) | undefined
  /**
   * A message to ourselves comes while the event loop looks at its descriptors. Not so an immediate or a timer: until the
   * loop is through with those, it says that it would not sleep at all. So it says, too, without anything to wait for.
   */
  readonly #message = new MessageChannel()

  constructor() {
    this.#message.port1.on('message', () => this.#waiting?.())
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
      this.#waiting = resolve
      this.#message.port2.postMessage(undefined)
    })
  }

  close(): void {
    this.#message.port1.close()
  }
}
