import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** Maximum number of open connections without the token. One more closes the oldest of them. */
const MAX_WITHOUT_TOKEN = 64

/**
 * Owns the connections of a server, including WebSockets, and bounds their lifetime: a peer that keeps its side open
 * holds no descriptor for long, and does not delay closing the server.
 *
 *     const connections = new Connections(server)
 *     connections.trust(request.socket)   // the request had the token
 *     connections.destroyAll()
 */
export class Connections {
  readonly #all = new Set<Socket>()
  /** Connections that have not sent the token, oldest first. */
  readonly #withoutToken = new Set<Socket>()

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => this.#add(socket))
  }

  /** The peer sent the token: the connection ends only by its time-outs. */
  trust(socket: Socket): void {
    this.#withoutToken.delete(socket)
  }

  destroyAll(): void {
    for (const socket of this.#all) socket.destroy()
  }

  #add(socket: Socket): void {
    this.#all.add(socket)
    this.#withoutToken.add(socket)
    socket.once('close', () => {
      this.#all.delete(socket)
      this.#withoutToken.delete(socket)
    })
    if (this.#withoutToken.size <= MAX_WITHOUT_TOKEN) return
    const [oldest] = this.#withoutToken
    // `close` is emitted later, and the next connection must not find this one here.
    this.#withoutToken.delete(oldest)
    oldest.destroy()
  }
}
