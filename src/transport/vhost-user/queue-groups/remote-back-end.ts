import type { Descriptor } from '../../../host/linux/descriptor.ts'
import type { Connection } from '../../../host/socket/connection.ts'
import type { Receiver } from '../../../host/socket/stream-connection.ts'
import { acknowledgement, FrontEndMessage, type MessageKind, type ReplyOf, type RequestOf } from '../messages.ts'
import { MessageFlag, ProtocolFeature } from '../protocol.ts'
import { encodeMessage, type RawMessage, RequestStream } from '../request-stream.ts'
import { VhostUserError } from '../vhost-user-error.ts'

/** Reply of a back-end. */
export interface RemoteAnswer<T> {
  readonly value: T
  /** Owned by the caller. */
  readonly descriptors: readonly Descriptor[]
}

/** Sent message that waits for its reply. */
interface PendingRequest {
  readonly kind: MessageKind<unknown, unknown>
  resolve(answer: RemoteAnswer<unknown>): void
  reject(error: Error): void
}

/**
 * Front-end side of a connection to a back-end.
 *
 *     const backEnd = new RemoteBackEnd(connect, (reason) => ...)
 *     const { value } = await backEnd.ask('GET_FEATURES', undefined)
 *     await backEnd.ask('SET_FEATURES', value)        // rejects if it is refused
 *
 * The constructor negotiates REPLY_ACK, so that every message has exactly one reply.
 */
export class RemoteBackEnd implements Receiver {
  readonly #connection: Connection
  readonly #stream = new RequestStream()
  /** Requests in the order of their replies. */
  readonly #waiting: PendingRequest[] = []
  #closed = false

  /** @param onEnd called once when the back-end ends the connection */
  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly onEnd: (reason: string | undefined) => void,
  ) {
    this.#connection = connect(this)
    // A refusal needs no handling: all later messages are refused too.
    this.ask('SET_PROTOCOL_FEATURES', REPLY_ACK).catch(() => {})
  }

  /** Sends a message with descriptors, borrowed during the call. Rejects if the back-end refuses it. */
  ask<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<RemoteAnswer<ReplyOf<N>>> {
    const kind = FrontEndMessage[name] as unknown as MessageKind<RequestOf<N>, ReplyOf<N>>
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new VhostUserError(CONNECTION_CLOSED)
      this.#connection.send(encodeMessage(kind.id, MessageFlag.NEED_REPLY, kind.request.write(request)), descriptors)
      this.#waiting.push({ kind, resolve, reject } as PendingRequest)
    })
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#stream.add(bytes, descriptors)
    for (let message = this.#stream.next(); message; message = this.#stream.next()) this.#take(message)
    if (this.#stream.fault !== undefined) this.ended(this.#stream.fault)
  }

  ended(reason?: string): void {
    if (this.#closed) return
    this.close()
    this.onEnd(reason)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stream.close()
    this.#connection.close()
    for (const { reject } of this.#waiting.splice(0)) reject(new VhostUserError(CONNECTION_CLOSED))
  }

  #take({ request, payload, descriptors }: RawMessage): void {
    const pending = this.#waiting.shift()
    try {
      if (pending?.kind.id !== request) throw new VhostUserError(`a reply to message ${request} without a request`)
      if (pending.kind.reply) pending.resolve({ value: pending.kind.reply.parse(payload), descriptors })
      else if (acknowledgement.parse(payload) === 0) pending.resolve({ value: undefined, descriptors })
      else throw new VhostUserError('refused by the queue group')
    } catch (error) {
      for (const descriptor of descriptors) descriptor.close()
      pending?.reject(error instanceof Error ? error : new VhostUserError(String(error)))
    }
  }
}

const REPLY_ACK = 1n << BigInt(ProtocolFeature.REPLY_ACK)
const CONNECTION_CLOSED = 'the queue group closed the connection'
