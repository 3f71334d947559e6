import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Connection } from '../../host/socket/connection.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import type { Pending } from '../../pending/pending.ts'
import { hasFeature } from '../../virtio/feature.ts'
import { closeAll, RequestLoop, type RequestLoopEvents, reasonOf } from '../socket/request-loop.ts'
import {
  acknowledgement,
  FrontEndMessage,
  frontEndMessageName,
  type MessageKind,
  type ReplyOf,
  type RequestOf,
} from './messages.ts'
import { MessageFlag, ProtocolFeature } from './protocol.ts'
import { encodeMessage, type RawMessage, RequestStream } from './request-stream.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Reply with a borrowed descriptor. */
export class AnswerWithDescriptor<T> {
  constructor(
    readonly answer: T,
    readonly descriptor: Descriptor,
  ) {}
}

type Answer<T> = T | AnswerWithDescriptor<T>

/**
 * Handlers by message. A handler owns the descriptors, and throws to refuse a message: all its descriptors are closed
 * then. Messages without a handler are refused.
 */
export type Handlers = {
  readonly [N in FrontEndMessage]?: (
    request: RequestOf<N>,
    descriptors: readonly Descriptor[],
  ) => Answer<ReplyOf<N>> | Pending<ReplyOf<N>> | Promise<Answer<ReplyOf<N>>>
}

type AnyHandler = (request: unknown, descriptors: readonly Descriptor[]) => unknown

/**
 * Dispatches the front-end's messages. A refused message is answered with a failure if the message has a reply or its
 * sender requested one. Otherwise the front-end would not notice the failure, so the connection ends. @vhost-user
 * REPLY_ACK
 */
export class Dispatcher extends RequestLoop<RawMessage> {
  /** Negotiated protocol features, as bits of `ProtocolFeature`. */
  protocolFeatures = 0n

  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly handlers: Handlers,
    events: RequestLoopEvents,
  ) {
    super(connect, new RequestStream(), events)
  }

  isNegotiated(feature: ProtocolFeature): boolean {
    return hasFeature(this.protocolFeatures, feature)
  }

  protected call(message: RawMessage): unknown {
    const { request, flags, payload, descriptors } = message
    const name = frontEndMessageName(request)
    if (name === undefined) throw new VhostUserError('unknown message')
    const kind: MessageKind<unknown, unknown> = FrontEndMessage[name]
    const handler = this.handlers[name] as AnyHandler | undefined
    if ((flags & MessageFlag.REPLY) !== 0) throw new VhostUserError('it has the REPLY flag')
    if (!handler) throw new VhostUserError('not supported')
    if (kind.needs !== undefined && !this.isNegotiated(kind.needs)) {
      throw new VhostUserError(`protocol feature ${kind.needs} was not negotiated`)
    }
    const [least, most] = kind.descriptors
    if (descriptors.length < least || descriptors.length > most) {
      throw new VhostUserError(`it has ${descriptors.length} descriptors instead of ${least} to ${most}`)
    }
    return handler(kind.request.parse(payload), descriptors)
  }

  protected answer(message: RawMessage, answer: unknown): void {
    const kind = kindOf(message)
    if (!kind?.reply) {
      if (this.#wantsAcknowledgement(message)) this.#reply(message, acknowledgement.write(0))
    } else if (answer instanceof AnswerWithDescriptor) {
      this.#reply(message, kind.reply.write(answer.answer), answer.descriptor)
    } else {
      this.#reply(message, kind.reply.write(answer))
    }
  }

  protected refuse(message: RawMessage, error: unknown): void {
    closeAll(message.descriptors)
    const kind = kindOf(message)
    const name = frontEndMessageName(message.request) ?? `message ${message.request}`
    const reason = `${name} refused: ${reasonOf(error)}`
    if (kind?.refusal) this.#reply(message, kind.refusal)
    else if (!kind?.reply && this.#wantsAcknowledgement(message)) this.#reply(message, acknowledgement.write(1))
    else {
      this.ended(reason)
      return
    }
    this.events.log(reason)
  }

  #wantsAcknowledgement({ flags }: RawMessage): boolean {
    return (flags & MessageFlag.NEED_REPLY) !== 0 && this.isNegotiated(ProtocolFeature.REPLY_ACK)
  }

  #reply({ request }: RawMessage, payload: Uint8Array, descriptor?: Descriptor): void {
    this.send(encodeMessage(request, MessageFlag.REPLY, payload), descriptor)
  }
}

function kindOf({ request }: RawMessage): MessageKind<unknown, unknown> | undefined {
  const name = frontEndMessageName(request)
  return name && (FrontEndMessage[name] as MessageKind<unknown, unknown>)
}
