import type { Descriptor } from '../linux/descriptor.ts'
import type { Closable, Reactor } from '../linux/reactor/reactor.ts'
import { END, type UnixStream } from '../linux/unix-stream.ts'
import type { Connection } from './connection.ts'

/** Hears what comes over a connection. */
export interface Receiver {
  /** @param bytes valid during the call only */
  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void
  /** Nothing comes any more. @param reason undefined where the other end just closed */
  ended(reason?: string): void
}

/** A connection over a Unix socket, whose bytes come in a reactor's turns. */
export class StreamConnection implements Connection {
  readonly #stream: UnixStream
  readonly #reactor: Pick<Reactor, 'watch'>
  readonly #receiver: Receiver
  #watch: Closable | undefined
  #closed = false

  /** The stream is the connection's from now on. */
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
      this.#receiver.ended('descriptors were lost: this process can have no more')
    } else this.#receiver.receive(received.bytes, received.descriptors)
  }
}
