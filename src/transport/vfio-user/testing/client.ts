import type { Descriptor } from '../../../host/linux/descriptor.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import { closeAll } from '../../socket/request-loop.ts'
import { type Answer, PeerEnd } from '../../socket/testing/peer-end.ts'
import { CommandStream, encodeMessage, type RawMessage } from '../command-stream.ts'
import { ClientCommand, type CommandKind, type ReplyOf, type RequestOf } from '../messages.ts'
import { MessageFlag } from '../protocol.ts'

/**
 * Client controlled by a test: sends valid or invalid commands, and reads answers.
 *
 *     const { value } = client.ask('DEVICE_GET_INFO', { argsz: 16, flags: 0, regions: 0, irqs: 0, bytes: new Uint8Array() })
 *     client.refusal('DMA_UNMAP', { argsz: 24, flags: 0, address: 0, size: 4096 })     // ENOENT
 */
export class Client extends PeerEnd<RawMessage> {
  /** Called with commands of the server. While it is set, `next` does not return them. */
  onCommand: ((message: RawMessage) => void) | undefined
  #id = 0x1000

  constructor(stream: UnixStream, turn: () => void) {
    super(stream, new CommandStream(), turn)
  }

  /** Sends a command without reading an answer. @returns its id */
  send<N extends ClientCommand>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
    flags = 0,
  ): number {
    const kind = ClientCommand[name] as unknown as CommandKind<RequestOf<N>, ReplyOf<N>>
    const id = this.#id++ & 0xffff
    this.raw(encodeMessage({ id, command: kind.id, flags, error: 0 }, kind.request.write(request)), descriptors)
    this.turn()
    return id
  }

  /** Sends a command. @returns its answer. @throws {Error} if it is refused or not answered */
  ask<N extends ClientCommand>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Answer<ReplyOf<N>> {
    const kind = ClientCommand[name] as unknown as CommandKind<RequestOf<N>, ReplyOf<N>>
    const answer = this.#answerTo(name, this.send(name, request, descriptors))
    if ((answer.flags & MessageFlag.ERROR) !== 0) throw new Error(`${name} was refused with ${answer.error}`)
    return { value: kind.reply.parse(answer.payload), descriptors: answer.descriptors }
  }

  /** Sends an invalid command. @returns the errno of the reply. @throws {Error} if it is accepted or not answered */
  refusal<N extends ClientCommand>(name: N, request: RequestOf<N>, descriptors: readonly Descriptor[] = []): number {
    const { flags, error, payload } = this.#answerTo(name, this.send(name, request, descriptors))
    if ((flags & MessageFlag.ERROR) === 0) throw new Error(`${name} was accepted`)
    if (payload.length > 0) throw new Error(`${name} was refused with more than a header`)
    return error
  }

  protected override take(): RawMessage | undefined {
    for (let message = super.take(); message; message = super.take()) {
      if (!this.onCommand || (message.flags & MessageFlag.TYPE_MASK) !== MessageFlag.COMMAND) return message
      this.onCommand(message)
    }
    return undefined
  }

  #answerTo(name: ClientCommand, id: number): RawMessage {
    const answer = this.next()
    if (!answer) throw new Error(`${name} was not answered`)
    if (answer.command !== ClientCommand[name].id || answer.id !== id) {
      closeAll(answer.descriptors)
      throw new Error(`${name} was answered by ${answer.command}`)
    }
    return answer
  }
}
