import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { UnixStream } from '../../host/linux/unix-stream.ts'

/** A peer that listens, and is called until it answers, each time it is gone. */
interface ConnectTo {
  readonly connectTo: string
}

/** Source of connections: a listening socket, one connected socket, or an address to connect to. */
export type PeerSource = UnixListener | UnixStream | ConnectTo

/** What serves one peer. */
export interface Service {
  /**
   * Resolves when the peer is gone and nothing of it is left here, with the reason for people; without one where it
   * just closed the connection.
   */
  readonly over: Promise<string | undefined>
  /** Takes what is in flight to its end, then ends the connection from this side. */
  close(): void
}

export type AcceptReactor = Pick<Reactor, 'watch' | 'settle' | 'timer'>

/** Between attempts to reach a peer. */
const RETRY_MS = 500

/** Has one peer after another served. Those that come meanwhile wait. */
export class AcceptLoop<S extends Service> {
  /** Resolves when no peer is served any more, and none will be. */
  readonly over: Promise<void>
  /** What serves the peer there is. */
  service: S | undefined
  /** What waits for the next peer. */
  #waiting: Closable | undefined
  #closed = false
  #finished: () => void = () => {}

  /**
   * @param who what a peer is called, for people
   * @param serve begins to serve one; the stream is its own from then on
   * @param log lines about who comes and goes
   */
  constructor(
    private readonly peers: PeerSource,
    private readonly who: string,
    private readonly reactor: AcceptReactor,
    private readonly serve: (stream: UnixStream) => S,
    private readonly log: (line: string) => void,
  ) {
    this.over = new Promise((resolve) => {
      this.#finished = resolve
    })
    this.#next()
  }

  /** Serves no more: the peer there is is left when what it asked for is done. */
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
        // The peer still waits, and each turn would try again.
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

  /** @returns null where it fails */
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
    this.log(`a ${this.who} is here`)
    this.service = this.serve(stream)
    void this.service.over.then((reason) => this.#left(reason))
  }

  #left(reason: string | undefined): void {
    this.log(`the ${this.who} is gone${reason === undefined ? '' : `: ${reason}`}`)
    this.service = undefined
    if (this.#closed || this.peers instanceof UnixStream) this.#finish()
    else this.#next()
  }

  #finish(): void {
    this.#finished()
    // Microtasks run while a promise is awaited.
    this.reactor.settle(this.over)
  }
}
