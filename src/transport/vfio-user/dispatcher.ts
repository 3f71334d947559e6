import { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import type { Connection } from '../socket/connection.ts'
import type { Receiver } from '../socket/stream-connection.ts'
import { encodeMessage, MessageStream, type RawMessage } from './message-stream.ts'
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
  ) => Answer<ReplyOf<N>> | Promise<Answer<ReplyOf<N>>>
}

type AnyHandler = (request: unknown, descriptors: readonly Descriptor[]) => unknown

export interface DispatcherEvents {
  /** A promise that has to be settled before anything else happens. */
  settle(promise: Promise<unknown>): void
  /** The connection is over. Called once. @param reason for people; undefined where the client just closed it */
  lost(reason: string | undefined): void
  log(line: string): void
  /** @returns whether it answers something that was sent */
  answered(message: RawMessage): boolean
}

/**
 * Takes commands off a connection one at a time, has them handled, and answers. One that is refused is answered with an
 * errno, unless the client wants no answers.
 *
 * The first has to be VERSION; nothing else is looked at before that was agreed on.
 * @vfio-user Protocol Specification
 */
export class Dispatcher implements Receiver {
  readonly #connection: Connection
  readonly #stream = new MessageStream()
  #agreed = false
  /** The command that is being handled, where that takes a while. */
  #underWay: Promise<void> | undefined
  #stopping = false
  #over = false

  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly handlers: Handlers,
    private readonly regions: RegionAccess,
    private readonly events: DispatcherEvents,
  ) {
    this.#connection = connect(this)
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    if (this.#over) {
      closeAll(descriptors)
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

  /** Sends a command of ours. */
  command(command: number, id: number, payload: Uint8Array): void {
    this.#send(encodeMessage({ id, command, flags: MessageFlag.COMMAND, error: 0 }, payload))
  }

  /** Ends the connection, after the command that is under way, and after what is to be done before. */
  stop(before: () => void | Promise<void>): void {
    if (this.#stopping || this.#over) return
    this.#stopping = true
    this.#connection.hold(true)
    const last = () => {
      const wait = before()
      if (wait) this.events.settle(wait.then(() => this.ended()))
      else this.ended()
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
    if ((message.flags & MessageFlag.TYPE_MASK) === MessageFlag.REPLY) {
      closeAll(message.descriptors)
      if (!this.events.answered(message)) this.events.log(`an answer to ${message.id}, which nobody asked for`)
      return
    }
    let result: unknown
    try {
      if (this.#access(message)) return
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

  /** @returns whether it was an access to a region, which is answered then */
  #access({ id, command, flags, payload, descriptors }: RawMessage): boolean {
    if (!this.#agreed || descriptors.length > 0) return false
    let answer: Uint8Array
    if (command === ClientCommand.REGION_WRITE.id) answer = this.regions.write(id, command, payload)
    else if (command === ClientCommand.REGION_READ.id) answer = this.regions.read(id, command, payload)
    else if (command === ClientCommand.REGION_WRITE_MULTI.id) answer = this.regions.writeMulti(id, command, payload)
    else return false
    if ((flags & MessageFlag.NO_REPLY) === 0) this.#send(answer)
    return true
  }

  #call({ command, payload, descriptors }: RawMessage): unknown {
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

  #answer(message: RawMessage, answer: unknown): void {
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

  #refuse(message: RawMessage, error: unknown): void {
    closeAll(message.descriptors)
    const { id, command, flags } = message
    const reason = error instanceof Error ? error.message : String(error)
    const line = `${clientCommandName(command) ?? `command ${command}`} refused: ${reason}`
    if ((flags & MessageFlag.NO_REPLY) === 0) {
      const header = { id, command, flags: MessageFlag.REPLY | MessageFlag.ERROR, error: errnoOf(error) }
      this.#send(encodeMessage(header, NOTHING))
    }
    // There is nothing to talk about with a client that cannot agree.
    if (this.#agreed) this.events.log(line)
    else this.ended(line)
  }

  #reply({ id, command }: RawMessage, payload: Uint8Array, fd?: number): void {
    const header = { id, command, flags: MessageFlag.REPLY, error: 0 }
    const descriptor = fd === undefined ? undefined : new Descriptor(fd, `what goes with an answer to ${command}`)
    this.#send(encodeMessage(header, payload), descriptor)
    // It is only borrowed.
    descriptor?.release()
  }

  #send(bytes: Uint8Array, descriptor?: Descriptor): void {
    if (this.#over) return
    try {
      this.#connection.send(bytes, descriptor ? [descriptor] : NO_DESCRIPTORS)
    } catch (error) {
      this.ended(error instanceof Error ? error.message : String(error))
    }
  }
}

const NOTHING = new Uint8Array(0)
const NO_DESCRIPTORS: readonly Descriptor[] = []

function closeAll(descriptors: readonly Descriptor[]): void {
  for (const descriptor of descriptors) descriptor.close()
}

function errnoOf(error: unknown): number {
  return error instanceof VfioUserError || error instanceof SystemCallError ? error.errno : Errno.EINVAL
}
