import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { END, type UnixStream } from '../../../host/linux/unix-stream.ts'
import type { MessageStream } from '../../../host/socket/message-stream.ts'

/** Answer with its descriptors. */
export interface Answer<T> {
  readonly value: T
  readonly descriptors: readonly Descriptor[]
}

/**
 * Peer of a connection, controlled by a test: sends valid or invalid bytes, and reads messages.
 *
 * `turn` is called until a message arrives, so that the end under test makes progress.
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

  /** True if the end under test closed the connection. */
  get ended(): boolean {
    this.turn()
    this.#receive()
    return this.#ended
  }

  /** Sends bytes unchanged. Bytes that the end under test does not accept are dropped. */
  raw(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    try {
      this.#stream.send(bytes, descriptors)
    } catch {
      this.#ended = true
    }
  }

  /** Returns the next message; undefined if none arrives. */
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

  /** Returns the next message that has arrived; undefined if there is none. */
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
