import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { END, type UnixStream } from '../../../host/linux/unix-stream.ts'
import { acknowledgement, FrontEndMessage, type MessageKind, type ReplyOf, type RequestOf } from '../messages.ts'
import { MessageFlag } from '../protocol.ts'
import { encodeMessage, type RawMessage, RequestStream } from '../request-stream.ts'

/** What came back, as it is on the wire. */
export interface Answer<T> {
  readonly value: T
  readonly descriptors: readonly Descriptor[]
}

/**
 * The front-end's end of a connection: sends messages, right or wrong, and reads answers.
 *
 *     const features = frontEnd.ask('GET_FEATURES', undefined).value
 *     frontEnd.tell('SET_FEATURES', features)
 *     frontEnd.acknowledged('SET_VRING_NUM', { index: 0, num: 256 })     // 0: it was accepted
 *
 * Whoever plays the back-end has to get its turns: `turn` is called until an answer is there.
 */
export class FrontEnd {
  readonly #stream: UnixStream
  readonly #answers = new RequestStream()
  readonly #turn: () => void
  #ended = false

  constructor(stream: UnixStream, turn: () => void) {
    this.#stream = stream
    this.#turn = turn
  }

  /** The back-end closed the connection. */
  get ended(): boolean {
    this.#turn()
    this.#receive()
    return this.#ended
  }

  /** Sends a message, and does not look for an answer. */
  tell<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
    flags = 0,
  ): void {
    const kind = FrontEndMessage[name] as unknown as MessageKind<RequestOf<N>, ReplyOf<N>>
    this.raw(encodeMessage(kind.id, flags, kind.request.write(request)), descriptors)
    this.#turn()
  }

  /** Sends bytes as they are. What the back-end no longer takes is lost. */
  raw(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    try {
      this.#stream.send(bytes, descriptors)
    } catch {
      this.#ended = true
    }
  }

  /** Sends a message that has an answer of its own, and reads that. */
  ask<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Answer<ReplyOf<N>> {
    this.tell(name, request, descriptors)
    return this.answerTo(name)
  }

  /** Reads the answer to a message that was sent. */
  answerTo<N extends FrontEndMessage>(name: N): Answer<ReplyOf<N>> {
    const kind = FrontEndMessage[name] as unknown as MessageKind<RequestOf<N>, ReplyOf<N>>
    const message = this.next()
    if (!message) throw new Error(`${name} was not answered`)
    if (message.request !== kind.id || !kind.reply) throw new Error(`${name} was answered by ${message.request}`)
    return { value: kind.reply.parse(message.payload), descriptors: message.descriptors }
  }

  /** Sends a message and asks for an acknowledgement. @returns 0 where it was accepted */
  acknowledged<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): number {
    this.tell(name, request, descriptors, MessageFlag.NEED_REPLY)
    return this.acknowledgementOf(name)
  }

  /** Reads the acknowledgement of a message that was sent and asked for it. */
  acknowledgementOf(name: FrontEndMessage): number {
    const message = this.next()
    if (message?.request !== FrontEndMessage[name].id) throw new Error(`${name} was not acknowledged`)
    return acknowledgement.parse(message.payload)
  }

  /** The next answer; undefined where there is none. */
  next(): RawMessage | undefined {
    for (let tries = 0; tries < 3; tries++) {
      const message = this.#answers.next()
      if (message) return message
      this.#turn()
      this.#receive()
    }
    return this.#answers.next()
  }

  close(): void {
    this.#answers.close()
    this.#stream.close()
  }

  #receive(): void {
    for (let received = this.#stream.receive(); received !== undefined; received = this.#stream.receive()) {
      if (received === END) {
        this.#ended = true
        return
      }
      this.#answers.add(received.bytes, received.descriptors)
    }
  }
}
