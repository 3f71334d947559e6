import type { WebSocket } from 'ws'

/** Time for which a page is not read while the guest accepts none of its input; then it is disconnected. */
const TIMEOUT_MS = 120_000

/** Pauses reading from a page while the machine is behind with its input, so that further input waits in the page. */
export class InputHold {
  #holds = 0
  #timeout: NodeJS.Timeout | undefined

  constructor(private readonly socket: WebSocket) {}

  /** Reads nothing until the promise resolves. */
  async until(taken: Promise<void>): Promise<void> {
    if (this.#holds++ === 0) {
      this.socket.pause()
      this.#timeout = setTimeout(() => this.socket.terminate(), TIMEOUT_MS)
    }
    await taken
    if (--this.#holds > 0) return
    clearTimeout(this.#timeout)
    this.socket.resume()
  }

  close(): void {
    clearTimeout(this.#timeout)
  }
}
