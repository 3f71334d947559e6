import type { Descriptor } from '../../host/linux/descriptor.ts'
import { hasFeature } from '../../virtio/feature.ts'
import type { Connection } from '../socket/connection.ts'
import type { Receiver } from '../socket/stream-connection.ts'
import { encodeMessage, MessageStream, type RawMessage } from './message-stream.ts'
import {
  acknowledgement,
  FrontEndMessage,
  frontEndMessageName,
  type MessageKind,
  type ReplyOf,
  type RequestOf,
} from './messages.ts'
import { MessageFlag, ProtocolFeature } from './protocol.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** An answer with a descriptor beside it, which stays whose it is. */
export class AnswerWithDescriptor<T> {
  constructor(
    readonly answer: T,
    readonly descriptor: Descriptor,
  ) {}
}

type Answer<T> = T | AnswerWithDescriptor<T>

/**
 * What is done about each message. A handler owns the descriptors, and throws to refuse: all that came with the
 * message are closed then. Messages without a handler are refused.
 */
export type Handlers = {
  readonly [N in FrontEndMessage]?: (
    request: RequestOf<N>,
    descriptors: readonly Descriptor[],
  ) => Answer<ReplyOf<N>> | Promise<Answer<ReplyOf<N>>>
}

type AnyHandler = (request: unknown, descriptors: readonly Descriptor[]) => unknown

export interface DispatcherEvents {
  /** A promise that has to be settled before anything else happens. */
  settle(promise: Promise<unknown>): void
  /** The connection is over. Called once. @param reason for people; undefined where the front-end just closed it */
  lost(reason: string | undefined): void
  log(line: string): void
}

/**
 * Takes messages off a connection one at a time, has them handled, and answers.
 *
 * A message that is refused is answered with a failure where its sender asked for that; otherwise it would never know,
 * and the connection ends. @vhost-user REPLY_ACK
 */
export class Dispatcher implements Receiver {
  /** What was agreed on, as bits of `ProtocolFeature`. */
  protocolFeatures = 0n
  readonly #connection: Connection
  readonly #stream = new MessageStream()
  /** The message that is being handled, where that takes a while. */
  #underWay: Promise<void> | undefined
  #stopping = false
  #over = false

  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly handlers: Handlers,
    private readonly events: DispatcherEvents,
  ) {
    this.#connection = connect(this)
  }

  agreed(feature: ProtocolFeature): boolean {
    return hasFeature(this.protocolFeatures, feature)
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    if (this.#over) {
      for (const descriptor of descriptors) descriptor.close()
      return
    }
    this.#stream.add(bytes, descriptors)
    this.#next()
  }

  ended(reason?: string): void {
    if (this.#over) return
    this.#over = true
    this.#stream.close()
    this.#connection.close()
    this.events.lost(reason)
  }

  /** Ends the connection, after the message that is under way, and after what is to be done before. */
  stop(before: () => void | Promise<void>): void {
    if (this.#stopping || this.#over) return
    this.#stopping = true
    this.#connection.hold(true)
    const last = () => {
      const wait = before()
      if (!wait) this.ended()
      else this.events.settle(wait.then(() => this.ended()))
    }
    if (this.#underWay) this.events.settle(this.#underWay.then(last))
    else last()
  }

  #next(): void {
    while (!this.#underWay && !this.#stopping && !this.#over) {
      const message = this.#stream.next()
      if (!message) break
      this.#handle(message)
    }
    if (this.#stream.fault !== undefined) this.ended(this.#stream.fault)
  }

  #handle(message: RawMessage): void {
    let result: unknown
    try {
      result = this.#call(message)
    } catch (error) {
      this.#refuse(message, error)
      return
    }
    if (!(result instanceof Promise)) {
      this.#answer(message, result)
      return
    }
    this.#connection.hold(true)
    this.#underWay = result
      .then(
        (answer) => this.#answer(message, answer),
        (error) => this.#refuse(message, error),
      )
      .then(() => {
        this.#underWay = undefined
        if (this.#stopping || this.#over) return
        this.#connection.hold(false)
        this.#next()
      })
    this.events.settle(this.#underWay)
  }

  #call(message: RawMessage): unknown {
    const { request, flags, payload, descriptors } = message
    const name = frontEndMessageName(request)
    if (name === undefined) throw new VhostUserError('there is no such message')
    const kind: MessageKind<unknown, unknown> = FrontEndMessage[name]
    const handler = this.handlers[name] as AnyHandler | undefined
    if ((flags & MessageFlag.REPLY) !== 0) throw new VhostUserError('it is marked as an answer')
    if (!handler) throw new VhostUserError('not served here')
    if (kind.needs !== undefined && !this.agreed(kind.needs)) {
      throw new VhostUserError(`protocol feature ${kind.needs} was not agreed on`)
    }
    const [least, most] = kind.descriptors
    if (descriptors.length < least || descriptors.length > most) {
      throw new VhostUserError(`${descriptors.length} descriptors came with it`)
    }
    return handler(kind.request.parse(payload), descriptors)
  }

  #answer(message: RawMessage, answer: unknown): void {
    const kind = kindOf(message)
    if (!kind?.reply) {
      if (this.#wantsAcknowledgement(message)) this.#reply(message, acknowledgement.write(0))
    } else if (answer instanceof AnswerWithDescriptor) {
      this.#reply(message, kind.reply.write(answer.answer), answer.descriptor)
    } else {
      this.#reply(message, kind.reply.write(answer))
    }
  }

  #refuse(message: RawMessage, error: unknown): void {
    for (const descriptor of message.descriptors) descriptor.close()
    const kind = kindOf(message)
    const name = frontEndMessageName(message.request) ?? `message ${message.request}`
    const reason = `${name} refused: ${error instanceof Error ? error.message : String(error)}`
    if (kind?.refusal) this.#reply(message, kind.refusal)
    else if (!kind?.reply && this.#wantsAcknowledgement(message)) this.#reply(message, acknowledgement.write(1))
    else {
      this.ended(reason)
      return
    }
    this.events.log(reason)
  }

  #wantsAcknowledgement({ flags }: RawMessage): boolean {
    return (flags & MessageFlag.NEED_REPLY) !== 0 && this.agreed(ProtocolFeature.REPLY_ACK)
  }

  #reply({ request }: RawMessage, payload: Uint8Array, descriptor?: Descriptor): void {
    if (this.#over) return
    try {
      this.#connection.send(encodeMessage(request, MessageFlag.REPLY, payload), descriptor ? [descriptor] : [])
    } catch (error) {
      this.ended(error instanceof Error ? error.message : String(error))
    }
  }
}

function kindOf({ request }: RawMessage): MessageKind<unknown, unknown> | undefined {
  const name = frontEndMessageName(request)
  return name && (FrontEndMessage[name] as MessageKind<unknown, unknown>)
}
