import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Connection } from '../../host/socket/connection.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import { acknowledgement, BackEndMessage, type MessageKind, type RequestOf } from './messages.ts'
import { MessageFlag } from './protocol.ts'
import { encodeMessage, RequestStream } from './request-stream.ts'

/** Answers that are waited for; a front-end that answers none gets no more. */
const MOST_WAITING = 1024

/** Told of the answer to a message: 0 is success. */
export type Answered = (status: number) => void

/**
 * The channel on which the back-end asks and the front-end answers. @vhost-user Back-end communication
 *
 * Nobody ever waits for an answer, since the front-end may be waiting for one from here.
 */
export class BackendChannel implements Receiver {
  readonly #connection: Connection
  readonly #stream = new RequestStream()
  readonly #waiting: { readonly id: number; readonly answered: Answered }[] = []
  #closed = false

  /** @param connect makes the connection, which tells what comes to the receiver it is given */
  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly log: (line: string) => void,
  ) {
    this.#connection = connect(this)
  }

  /** Sends a message, with a descriptor that it borrows. @param answered asks for an answer, and gets it */
  send<N extends BackEndMessage>(name: N, request: RequestOf<N>, descriptor?: Descriptor, answered?: Answered): void {
    if (this.#closed) return
    const kind = BackEndMessage[name] as unknown as MessageKind<RequestOf<N>, unknown>
    if (answered && this.#waiting.length >= MOST_WAITING) {
      this.ended('the front-end answers nothing')
      return
    }
    const bytes = encodeMessage(kind.id, answered ? MessageFlag.NEED_REPLY : 0, kind.request.write(request))
    if (answered) this.#waiting.push({ id: kind.id, answered })
    try {
      this.#connection.send(bytes, descriptor ? [descriptor] : [])
    } catch (error) {
      this.ended(error instanceof Error ? error.message : String(error))
    }
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#stream.add(bytes, descriptors)
    for (let message = this.#stream.next(); message; message = this.#stream.next()) {
      for (const descriptor of message.descriptors) descriptor.close()
      const asked = this.#waiting.shift()
      if (asked?.id !== message.request || message.payload.length !== acknowledgement.write(0).length) {
        this.ended(`an answer to message ${message.request}, which nobody asked`)
        return
      }
      asked.answered(acknowledgement.parse(message.payload))
    }
    if (this.#stream.fault !== undefined) this.ended(this.#stream.fault)
  }

  ended(reason?: string): void {
    if (this.#closed) return
    if (reason !== undefined) this.log(`the back-end's own channel: ${reason}`)
    this.close()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stream.close()
    this.#connection.close()
    this.#waiting.length = 0
  }
}
