import type { Descriptor } from '../../../host/linux/descriptor.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import { closeAll } from '../../socket/request-loop.ts'
import { type Answer, PeerEnd } from '../../socket/testing/peer-end.ts'
import { acknowledgement, FrontEndMessage, type MessageKind, type ReplyOf, type RequestOf } from '../messages.ts'
import { MessageFlag } from '../protocol.ts'
import { encodeMessage, type RawMessage, RequestStream } from '../request-stream.ts'

/**
 * Front-end controlled by a test: sends valid or invalid messages, and reads answers.
 *
 *     const features = frontEnd.ask('GET_FEATURES', undefined).value
 *     frontEnd.send('SET_FEATURES', features)
 *     frontEnd.acknowledged('SET_VRING_NUM', { index: 0, num: 256 })     // 0: it was accepted
 */
export class FrontEnd extends PeerEnd<RawMessage> {
  constructor(stream: UnixStream, turn: () => void) {
    super(stream, new RequestStream(), turn)
  }

  /** Sends a message without reading an answer. */
  send<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
    flags = 0,
  ): void {
    const kind = FrontEndMessage[name] as unknown as MessageKind<RequestOf<N>, ReplyOf<N>>
    this.raw(encodeMessage(kind.id, flags, kind.request.write(request)), descriptors)
    this.turn()
  }

  /** Sends a message that has a reply. @returns the reply */
  ask<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Answer<ReplyOf<N>> {
    this.send(name, request, descriptors)
    return this.answerTo(name)
  }

  /** Reads the reply to a message that was sent. */
  answerTo<N extends FrontEndMessage>(name: N): Answer<ReplyOf<N>> {
    const kind = FrontEndMessage[name] as unknown as MessageKind<RequestOf<N>, ReplyOf<N>>
    const message = this.next()
    if (!message) throw new Error(`${name} was not answered`)
    if (message.request !== kind.id || !kind.reply) {
      closeAll(message.descriptors)
      throw new Error(`${name} was answered by ${message.request}`)
    }
    return { value: kind.reply.parse(message.payload), descriptors: message.descriptors }
  }

  /** Sends a message and requests an acknowledgement. @returns 0 if the message was accepted */
  acknowledged<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): number {
    this.send(name, request, descriptors, MessageFlag.NEED_REPLY)
    return this.acknowledgementOf(name)
  }

  /** Reads the acknowledgement of a message that requested it. */
  acknowledgementOf(name: FrontEndMessage): number {
    const message = this.next()
    if (message?.request !== FrontEndMessage[name].id) {
      closeAll(message?.descriptors ?? [])
      throw new Error(`${name} was not acknowledged`)
    }
    return acknowledgement.parse(message.payload)
  }
}
