import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** Connections without the token that are open at a time; one more ends the oldest of them. */
const MAX_WITHOUT_TOKEN = 64

/**
 * Owns the connections of a server, WebSockets included, so that each of them has an end: a peer that keeps its side open
 * keeps no descriptor for long, and the server from closing not at all.
 *
 *     const connections = new Connections(server)
 *     connections.trust(request.socket)   // the request named the token
 *     connections.destroyAll()
 */
export class Connections {
  readonly #all = new Set<Socket>()
  /** Those that have not named the token, the oldest first. */
  readonly #withoutToken = new Set<Socket>()

  constructor(server: Server) {
    server.on('connection', (socket: Socket) => this.#add(socket))
  }

  /** The peer named the token: the connection ends by its time-outs, and does not make room for others. */
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
    // Its `close` comes later, and the next connection must not find it here.
    this.#withoutToken.delete(oldest)
    oldest.destroy()
  }
}
