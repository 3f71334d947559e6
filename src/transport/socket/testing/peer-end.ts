import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { END, type UnixStream } from '../../../host/linux/unix-stream.ts'
import type { MessageStream } from '../../../host/socket/message-stream.ts'

/** What came back, as it is on the wire. */
export interface Answer<T> {
  readonly value: T
  readonly descriptors: readonly Descriptor[]
}

/**
 * The other end of a connection, played by a test: sends bytes, right or wrong, and reads messages.
 *
 * `turn` is called until a message is there, so that the end under test makes progress.
 */
export abstract class PeerEnd<M> {
  protected readonly turn: () => void
  readonly #stream: UnixStream
  readonly #messages: MessageStream<M>
  #ended = false

  constructor(stream: UnixStream, messages: MessageStream<M>, turn: () => void) {
    this.#stream = stream
    this.#messages = messages
    this.turn = turn
  }

  /** The end under test closed the connection. */
  get ended(): boolean {
    this.turn()
    this.#receive()
    return this.#ended
  }

  /** Sends bytes as they are. What is no longer taken is lost. */
  raw(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    try {
      this.#stream.send(bytes, descriptors)
    } catch {
      this.#ended = true
    }
  }

  /** The next message; undefined where there is none. */
  next(): M | undefined {
    for (let tries = 0; tries < 3; tries++) {
      const message = this.take()
      if (message) return message
      this.turn()
      this.#receive()
    }
    return this.take()
  }

  close(): void {
    this.#messages.close()
    this.#stream.close()
  }

  /** A message that is here already. */
  protected take(): M | undefined {
    return this.#messages.next()
  }

  #receive(): void {
    for (let received = this.#stream.receive(); received !== undefined; received = this.#stream.receive()) {
      if (received === END) {
        this.#ended = true
        return
      }
      this.#messages.add(received.bytes, received.descriptors)
    }
  }
}
