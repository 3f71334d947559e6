import { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import type { Connection } from '../../host/socket/connection.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import type { Pending } from '../../pending/pending.ts'
import { closeAll, RequestLoop, type RequestLoopEvents, reasonOf } from '../socket/request-loop.ts'
import { CommandStream, encodeMessage, type RawMessage } from './command-stream.ts'
import { ClientCommand, type CommandKind, clientCommandName, type ReplyOf, type RequestOf } from './messages.ts'
import { MessageFlag } from './protocol.ts'
import type { RegionAccess } from './region-access.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** Answer with a descriptor, which is borrowed. */
export class AnswerWithDescriptor<T> {
  constructor(
    readonly answer: T,
    readonly fd: number,
  ) {}
}

type Answer<T> = T | AnswerWithDescriptor<T>

/** Commands that are parsed without a `Payload`, because each costs the guest an exit. */
type AccessCommand = 'REGION_READ' | 'REGION_WRITE' | 'REGION_WRITE_MULTI'

/**
 * Handler of each command. A handler takes ownership of the descriptors. If it throws, the command is refused and its
 * descriptors are closed. Commands without a handler are refused.
 */
export type Handlers = {
  readonly [N in Exclude<ClientCommand, AccessCommand>]?: (
    request: RequestOf<N>,
    descriptors: readonly Descriptor[],
  ) => Answer<ReplyOf<N>> | Pending<ReplyOf<N>> | Promise<Answer<ReplyOf<N>>>
}

type AnyHandler = (request: unknown, descriptors: readonly Descriptor[]) => unknown

export interface DispatcherEvents extends RequestLoopEvents {
  /** Handles a reply of the client. @returns true if it answers a command that was sent */
  answered(message: RawMessage): boolean
}

/** Result of `call` for a message that needs no further answer. */
const ANSWERED = Symbol('answered')

/**
 * Dispatches the commands of a client to handlers, and answers them. A refused command is answered with an errno,
 * unless it has the NO_REPLY flag.
 *
 * The first command must be VERSION. Other commands are refused before the version is negotiated.
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

  /** Sends a command to the client. */
  command(command: number, id: number, payload: Uint8Array): void {
    this.send(encodeMessage({ id, command, flags: MessageFlag.COMMAND, error: 0 }, payload))
  }

  /** Handles and answers a region access. @returns false if the message is not one */
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
      if (!this.#answered(message)) this.events.log(`a reply to message ${message.id} without a request`)
      return ANSWERED
    }
    if (this.#access(message)) return ANSWERED
    const name = clientCommandName(command)
    if (name === undefined) throw new VfioUserError(Errno.EOPNOTSUPP, 'unknown command')
    if (!this.#agreed && name !== 'VERSION') throw new VfioUserError(Errno.EINVAL, 'VERSION must come first')
    const kind: CommandKind<unknown, unknown> = ClientCommand[name]
    if (descriptors.length > kind.descriptors) {
      throw new VfioUserError(
        Errno.EINVAL,
        `at most ${kind.descriptors} descriptors are allowed, not ${descriptors.length}`,
      )
    }
    const handler = (this.handlers as Readonly<Record<string, AnyHandler | undefined>>)[name]
    if (!handler) throw new VfioUserError(Errno.EOPNOTSUPP, 'not supported')
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
    // Without a version, no further command can be served.
    if (this.#agreed) this.events.log(line)
    else this.ended(line)
  }

  #reply({ id, command }: RawMessage, payload: Uint8Array, fd?: number): void {
    const header = { id, command, flags: MessageFlag.REPLY, error: 0 }
    const descriptor =
      fd === undefined ? undefined : new Descriptor(fd, `the descriptor of a reply to command ${command}`)
    this.send(encodeMessage(header, payload), descriptor)
    // The descriptor is borrowed: it must stay open.
    descriptor?.release()
  }
}

const NOTHING = new Uint8Array(0)

function errnoOf(error: unknown): number {
  return error instanceof VfioUserError || error instanceof SystemCallError ? error.errno : Errno.EINVAL
}
