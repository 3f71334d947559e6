import type { WebSocket } from 'ws'

/** How long a page is not read while the guest takes none of its input. */
const TIMEOUT_MS = 120_000

/** Stops reading a page while the machine is behind with its input, so that what follows waits in the page. */
export class InputHold {
  #holds = 0
  #patience: NodeJS.Timeout | undefined

  constructor(private readonly socket: WebSocket) {}

  /** Reads no more until the promise resolves. */
  async until(taken: Promise<void>): Promise<void> {
    if (this.#holds++ === 0) {
      this.socket.pause()
      this.#patience = setTimeout(() => this.socket.terminate(), TIMEOUT_MS)
    }
    await taken
    if (--this.#holds > 0) return
    clearTimeout(this.#patience)
    this.socket.resume()
  }

  close(): void {
    clearTimeout(this.#patience)
  }
}
