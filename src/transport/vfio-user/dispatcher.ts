import { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import type { Connection } from '../../host/socket/connection.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import type { Pending } from '../../pending/pending.ts'
import { type ConversationEvents, closeAll, RequestLoop, reasonOf } from '../socket/request-loop.ts'
import { CommandStream, encodeMessage, type RawMessage } from './command-stream.ts'
import { ClientCommand, type CommandKind, clientCommandName, type ReplyOf, type RequestOf } from './messages.ts'
import { MessageFlag } from './protocol.ts'
import type { RegionAccess } from './region-access.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** An answer with a descriptor beside it, which stays whose it is. */
export class AnswerWithDescriptor<T> {
  constructor(
    readonly answer: T,
    readonly fd: number,
  ) {}
}

type Answer<T> = T | AnswerWithDescriptor<T>

/** Those taken apart by hand, since guests wait for them. */
type AccessCommand = 'REGION_READ' | 'REGION_WRITE' | 'REGION_WRITE_MULTI'

/**
 * What is done about each command. A handler owns the descriptors, and throws to refuse: all that came with the command
 * are closed then. Commands without a handler are refused.
 */
export type Handlers = {
  readonly [N in Exclude<ClientCommand, AccessCommand>]?: (
    request: RequestOf<N>,
    descriptors: readonly Descriptor[],
  ) => Answer<ReplyOf<N>> | Pending<ReplyOf<N>> | Promise<Answer<ReplyOf<N>>>
}

type AnyHandler = (request: unknown, descriptors: readonly Descriptor[]) => unknown

export interface DispatcherEvents extends ConversationEvents {
  /** @returns whether it answers something that was sent */
  answered(message: RawMessage): boolean
}

/** Of a message that nothing is to be said to any more. */
const ANSWERED = Symbol('answered')

/**
 * A server's side of a conversation. A command that is refused is answered with an errno, unless the client wants no answers.
 *
 * The first has to be VERSION; nothing else is looked at before that was agreed on.
 * @vfio-user Protocol Specification
 */
export class Dispatcher extends RequestLoop<RawMessage> {
  #agreed = false
  readonly #answered: DispatcherEvents['answered']

  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly handlers: Handlers,
    private readonly regions: RegionAccess,
    events: DispatcherEvents,
  ) {
    super(connect, new CommandStream(), events)
    this.#answered = events.answered
  }

  /** Sends a command of ours. */
  command(command: number, id: number, payload: Uint8Array): void {
    this.send(encodeMessage({ id, command, flags: MessageFlag.COMMAND, error: 0 }, payload))
  }

  /** @returns whether it was an access to a region, which is answered then */
  #access({ id, command, flags, payload, descriptors }: RawMessage): boolean {
    if (!this.#agreed || descriptors.length > 0) return false
    let answer: Uint8Array
    if (command === ClientCommand.REGION_WRITE.id) answer = this.regions.write(id, command, payload)
    else if (command === ClientCommand.REGION_READ.id) answer = this.regions.read(id, command, payload)
    else if (command === ClientCommand.REGION_WRITE_MULTI.id) answer = this.regions.writeMulti(id, command, payload)
    else return false
    if ((flags & MessageFlag.NO_REPLY) === 0) this.send(answer)
    return true
  }

  protected call(message: RawMessage): unknown {
    const { command, flags, payload, descriptors } = message
    if ((flags & MessageFlag.TYPE_MASK) === MessageFlag.REPLY) {
      closeAll(descriptors)
      if (!this.#answered(message)) this.events.log(`a reply to ${message.id} without a request`)
      return ANSWERED
    }
    if (this.#access(message)) return ANSWERED
    const name = clientCommandName(command)
    if (name === undefined) throw new VfioUserError(Errno.EOPNOTSUPP, 'there is no such command')
    if (!this.#agreed && name !== 'VERSION') throw new VfioUserError(Errno.EINVAL, 'VERSION comes first')
    const kind: CommandKind<unknown, unknown> = ClientCommand[name]
    if (descriptors.length > kind.descriptors) {
      throw new VfioUserError(Errno.EINVAL, `${descriptors.length} descriptors came with it`)
    }
    const handler = (this.handlers as Readonly<Record<string, AnyHandler | undefined>>)[name]
    if (!handler) throw new VfioUserError(Errno.EOPNOTSUPP, 'not served here')
    return handler(kind.request.parse(payload), descriptors)
  }

  protected answer(message: RawMessage, answer: unknown): void {
    if (answer === ANSWERED) return
    const name = clientCommandName(message.command)
    if (name === 'VERSION') this.#agreed = true
    if (name === undefined || (message.flags & MessageFlag.NO_REPLY) !== 0) return
    const kind: CommandKind<unknown, unknown> = ClientCommand[name]
    if (answer instanceof AnswerWithDescriptor) {
      this.#reply(message, kind.reply.write(answer.answer), answer.fd)
    } else {
      this.#reply(message, kind.reply.write(answer))
    }
  }

  protected refuse(message: RawMessage, error: unknown): void {
    closeAll(message.descriptors)
    const { id, command, flags } = message
    const line = `${clientCommandName(command) ?? `command ${command}`} refused: ${reasonOf(error)}`
    if ((flags & MessageFlag.NO_REPLY) === 0) {
      const header = { id, command, flags: MessageFlag.REPLY | MessageFlag.ERROR, error: errnoOf(error) }
      this.send(encodeMessage(header, NOTHING))
    }
    // There is nothing to talk about with a client that cannot agree.
    if (this.#agreed) this.events.log(line)
    else this.ended(line)
  }

  #reply({ id, command }: RawMessage, payload: Uint8Array, fd?: number): void {
    const header = { id, command, flags: MessageFlag.REPLY, error: 0 }
    const descriptor = fd === undefined ? undefined : new Descriptor(fd, `what goes with an answer to ${command}`)
    this.send(encodeMessage(header, payload), descriptor)
    // It is only borrowed.
    descriptor?.release()
  }
}

const NOTHING = new Uint8Array(0)

function errnoOf(error: unknown): number {
  return error instanceof VfioUserError || error instanceof SystemCallError ? error.errno : Errno.EINVAL
}
