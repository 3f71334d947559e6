import type { Descriptor } from '../linux/descriptor.ts'
import type { Closable, Reactor } from '../linux/reactor/reactor.ts'
import { END, type UnixStream } from '../linux/unix-stream.ts'
import type { Connection } from './connection.ts'

/** Receives the bytes and the end of a connection. */
export interface Receiver {
  /** @param bytes valid during the call only */
  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void
  /** Called when the connection ended. @param reason error; undefined if the peer closed */
  ended(reason?: string): void
}

/** Connection over a Unix socket that receives in the turns of a reactor. */
export class StreamConnection implements Connection {
  readonly #stream: UnixStream
  readonly #reactor: Pick<Reactor, 'watch'>
  readonly #receiver: Receiver
  #watch: Closable | undefined
  #closed = false

  /** Takes ownership of the stream. */
  constructor(stream: UnixStream, reactor: Pick<Reactor, 'watch'>, receiver: Receiver) {
    this.#stream = stream
    this.#reactor = reactor
    this.#receiver = receiver
    this.hold(false)
  }

  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    this.#stream.send(bytes, descriptors)
  }

  hold(held: boolean): void {
    if (this.#closed) return
    this.#watch?.close()
    this.#watch = held ? undefined : this.#reactor.watch(this.#stream.fd, () => this.#receive())
  }

  close(): void {
    if (this.#closed) return
    this.#watch?.close()
    this.#watch = undefined
    this.#closed = true
    this.#stream.close()
  }

  #receive(): void {
    let received: ReturnType<UnixStream['receive']>
    try {
      received = this.#stream.receive()
    } catch (error) {
      this.#receiver.ended(error instanceof Error ? error.message : String(error))
      return
    }
    if (received === undefined) return
    if (received === END) this.#receiver.ended()
    else if (received.truncated) {
      for (const descriptor of received.descriptors) descriptor.close()
      this.#receiver.ended('descriptors were lost: this process has no free descriptor numbers; raise ulimit -n')
    } else this.#receiver.receive(received.bytes, received.descriptors)
  }
}
