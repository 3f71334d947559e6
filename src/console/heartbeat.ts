import type { WebSocket } from 'ws'

const INTERVAL_MS = 15_000

/** Pings the sockets, and ends those that sent nothing since the ping before. */
export class Heartbeat {
  /** Whether a socket sent nothing since the last ping. */
  readonly #silent = new WeakMap<WebSocket, boolean>()
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
      // What it answers is not read: it is not silent by itself.
      if (socket.isPaused) {
        this.#silent.set(socket, false)
      } else if (this.#silent.get(socket)) {
        socket.terminate()
      } else {
        if (!this.#silent.has(socket)) this.#listen(socket)
        this.#silent.set(socket, true)
        socket.ping()
      }
    }
  }

  /** The pong may come behind many messages. */
  #listen(socket: WebSocket): void {
    for (const sign of ['pong', 'message']) socket.on(sign, () => this.#silent.set(socket, false))
  }
}
