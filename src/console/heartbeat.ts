import type { WebSocket } from 'ws'

const INTERVAL_MS = 15_000

/** Pings the sockets, and closes those that sent nothing since the previous ping. */
export class Heartbeat {
  /** True if a socket sent nothing since the last ping. */
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
      // A paused socket is not read, so its silence has no meaning.
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

  /** Any message counts as an answer: the pong may come after many messages. */
  #listen(socket: WebSocket): void {
    for (const sign of ['pong', 'message']) socket.on(sign, () => this.#silent.set(socket, false))
  }
}
