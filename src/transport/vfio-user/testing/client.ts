import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { END, type UnixStream } from '../../../host/linux/unix-stream.ts'
import { CommandStream, encodeMessage, type RawMessage } from '../command-stream.ts'
import { ClientCommand, type CommandKind, type ReplyOf, type RequestOf } from '../messages.ts'
import { MessageFlag } from '../protocol.ts'

/** What came back, as it is on the wire. */
export interface Answer<T> {
  readonly value: T
  readonly descriptors: readonly Descriptor[]
}

/**
 * The client's end of a connection: sends commands, right or wrong, and reads answers.
 *
 *     const { value } = client.ask('DEVICE_GET_INFO', { argsz: 16, flags: 0, regions: 0, irqs: 0, bytes: new Uint8Array() })
 *     client.refusal('DMA_UNMAP', { argsz: 24, flags: 0, address: 0, size: 4096 })     // ENOENT
 *
 * Whoever plays the server has to get its turns: `turn` is called until an answer is there.
 */
export class Client {
  readonly #stream: UnixStream
  readonly #answers = new CommandStream()
  readonly #turn: () => void
  #ended = false
  /** Told of commands from the server, in place of whoever asks for the next message. */
  onCommand: ((message: RawMessage) => void) | undefined
  #id = 0x1000

  constructor(stream: UnixStream, turn: () => void) {
    this.#stream = stream
    this.#turn = turn
  }

  /** The server closed the connection. */
  get ended(): boolean {
    this.#turn()
    this.#receive()
    return this.#ended
  }

  /** Sends a command, and does not look for an answer. @returns its id */
  tell<N extends ClientCommand>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
    flags = 0,
  ): number {
    const kind = ClientCommand[name] as unknown as CommandKind<RequestOf<N>, ReplyOf<N>>
    const id = this.#id++ & 0xffff
    this.raw(encodeMessage({ id, command: kind.id, flags, error: 0 }, kind.request.write(request)), descriptors)
    this.#turn()
    return id
  }

  /** Sends bytes as they are. What the server no longer takes is lost. */
  raw(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    try {
      this.#stream.send(bytes, descriptors)
    } catch {
      this.#ended = true
    }
  }

  /** Sends a command, and reads what answers it. @throws where it is refused, or not answered */
  ask<N extends ClientCommand>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Answer<ReplyOf<N>> {
    const kind = ClientCommand[name] as unknown as CommandKind<RequestOf<N>, ReplyOf<N>>
    const answer = this.#answerTo(name, this.tell(name, request, descriptors))
    if ((answer.flags & MessageFlag.ERROR) !== 0) throw new Error(`${name} was refused with ${answer.error}`)
    return { value: kind.reply.parse(answer.payload), descriptors: answer.descriptors }
  }

  /** Sends a command that is wrong. @returns the errno it is answered with */
  refusal<N extends ClientCommand>(name: N, request: RequestOf<N>, descriptors: readonly Descriptor[] = []): number {
    const { flags, error, payload } = this.#answerTo(name, this.tell(name, request, descriptors))
    if ((flags & MessageFlag.ERROR) === 0) throw new Error(`${name} was accepted`)
    if (payload.length > 0) throw new Error(`${name} was refused with more than a header`)
    return error
  }

  /** The next message; undefined where there is none. */
  next(): RawMessage | undefined {
    for (let tries = 0; tries < 3; tries++) {
      const message = this.#take()
      if (message) return message
      this.#turn()
      this.#receive()
    }
    return this.#take()
  }

  #take(): RawMessage | undefined {
    for (let message = this.#answers.next(); message; message = this.#answers.next()) {
      if (!this.onCommand || (message.flags & MessageFlag.TYPE_MASK) !== MessageFlag.COMMAND) return message
      this.onCommand(message)
    }
    return undefined
  }

  close(): void {
    this.#answers.close()
    this.#stream.close()
  }

  #answerTo(name: ClientCommand, id: number): RawMessage {
    const answer = this.next()
    if (!answer) throw new Error(`${name} was not answered`)
    if (answer.command !== ClientCommand[name].id || answer.id !== id) {
      throw new Error(`${name} was answered by ${answer.command}`)
    }
    return answer
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
