import type { WebSocket } from 'ws'

const INTERVAL_MS = 15_000

/** Pings the sockets, and ends those that did not answer the ping before. */
export class Heartbeat {
  readonly #silent = new WeakSet<WebSocket>()
  readonly #timer: NodeJS.Timeout

  constructor(private readonly sockets: ReadonlySet<WebSocket>) {
    this.#timer = setInterval(() => this.#beat(), INTERVAL_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #beat(): void {
    for (const socket of this.sockets) {
      if (this.#silent.has(socket)) {
        socket.terminate()
        continue
      }
      this.#silent.add(socket)
      socket.once('pong', () => this.#silent.delete(socket))
      socket.ping()
    }
  }
}
