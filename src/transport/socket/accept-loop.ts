import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { UnixStream } from '../../host/linux/unix-stream.ts'

/** Socket path of a listening peer. The loop connects to it, and again after each disconnection. */
interface ConnectTo {
  readonly connectTo: string
}

/** Source of connections: a listening socket, one connected socket, or an address to connect to. */
export type PeerSource = UnixListener | UnixStream | ConnectTo

/** Serves one peer. */
export interface Service {
  /**
   * Resolves when the connection is closed and all its resources are released, with the reason, for messages; undefined
   * if the peer closed the connection.
   */
  readonly closed: Promise<string | undefined>
  /** Completes the requests in flight, then closes the connection. */
  close(): void
}

export type AcceptReactor = Pick<Reactor, 'watch' | 'settle' | 'timer'>

/** Interval between attempts to accept or connect, after a failure. */
const RETRY_MS = 500

/** Serves peers one after another. While one is served, further connections wait in the listener's queue. */
export class AcceptLoop<S extends Service> {
  /** Resolves when the loop has ended and no peer is served. */
  readonly closed: Promise<void>
  /** Service of the connected peer. */
  service: S | undefined
  /** Watch or timer that waits for the next peer. */
  #waiting: Closable | undefined
  #closed = false
  #finished: () => void = () => {}

  /**
   * @param role role of the peers in log lines: `front-end`, `client`
   * @param serve starts the service of a peer, and takes ownership of the stream
   * @param log receives a line for each connection, disconnection and failure
   */
  constructor(
    private readonly peers: PeerSource,
    private readonly role: string,
    private readonly reactor: AcceptReactor,
    private readonly serve: (stream: UnixStream) => S,
    private readonly log: (line: string) => void,
  ) {
    this.closed = new Promise((resolve) => {
      this.#finished = resolve
    })
    this.#next()
  }

  /** Ends the loop. Disconnects the present peer after its requests in flight are completed. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#waiting?.close()
    this.#waiting = undefined
    if (this.peers instanceof UnixListener) this.peers.close()
    if (this.service) this.service.close()
    else this.#finish()
  }

  /** Waits for the next peer. */
  #next(): void {
    const { peers } = this
    if (peers instanceof UnixStream) this.#begin(peers)
    else if (peers instanceof UnixListener) this.#listen(peers)
    else this.#call(peers.connectTo)
  }

  #listen(listener: UnixListener): void {
    this.#waiting = this.reactor.watch(listener.fd, () => {
      const stream = this.#attempt(() => listener.accept())
      if (stream) this.#begin(stream)
      else if (stream === null) {
        // The connection still waits, and the watch would try again in each turn.
        this.#waiting?.close()
        this.#waiting = this.reactor.timer(RETRY_MS, () => this.#listen(listener))
      }
    })
  }

  #call(path: string): void {
    this.#waiting = this.reactor.timer(0, () => {
      const stream = this.#attempt(() => UnixStream.connect(path))
      if (stream) this.#begin(stream)
      else this.#waiting = this.reactor.timer(RETRY_MS, () => this.#call(path))
    })
  }

  /** Returns what `get` returns; null if it throws, after logging the error. */
  #attempt(get: () => UnixStream | undefined): UnixStream | undefined | null {
    try {
      return get()
    } catch (error) {
      this.log(error instanceof Error ? error.message : String(error))
      return null
    }
  }

  #begin(stream: UnixStream): void {
    this.#waiting?.close()
    this.#waiting = undefined
    this.log(`${this.role} connected`)
    this.service = this.serve(stream)
    void this.service.closed.then((reason) => this.#disconnected(reason))
  }

  #disconnected(reason: string | undefined): void {
    this.log(`${this.role} disconnected${reason === undefined ? '' : `: ${reason}`}`)
    this.service = undefined
    if (this.#closed || this.peers instanceof UnixStream) this.#finish()
    else this.#next()
  }

  #finish(): void {
    this.#finished()
    // The reactor runs the continuations of the promise.
    this.reactor.settle(this.closed)
  }
}
