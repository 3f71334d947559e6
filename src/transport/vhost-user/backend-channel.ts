import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Connection } from '../../host/socket/connection.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import { acknowledgement, BackEndMessage, type MessageKind, type RequestOf } from './messages.ts'
import { MessageFlag } from './protocol.ts'
import { encodeMessage, RequestStream } from './request-stream.ts'

/** Answers that are waited for; a front-end that answers none gets no more. */
const MAX_WAITING = 1024

/** Whoever waits for the answer to a message. */
export interface Waiter {
  /** @param status 0 is success, @param descriptors what came with it: closed after the call, unless released */
  answered(status: number, descriptors: readonly Descriptor[]): void
  /** There will be no answer: the channel is closed. */
  lost?(): void
}

/**
 * The channel on which the back-end asks and the front-end answers. @vhost-user Back-end communication
 *
 * Nobody ever waits for an answer, since the front-end may be waiting for one from here.
 */
export class BackendChannel implements Receiver {
  readonly #connection: Connection
  readonly #stream = new RequestStream()
  readonly #waiting: { readonly id: number; readonly waiter: Waiter }[] = []
  #closed = false

  /** @param connect makes the connection, which tells what comes to the receiver it is given */
  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly log: (line: string) => void,
  ) {
    this.#connection = connect(this)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Sends a message, with a descriptor that it borrows. @param waiter asks for an answer, and gets it */
  send<N extends BackEndMessage>(name: N, request: RequestOf<N>, descriptor?: Descriptor, waiter?: Waiter): void {
    if (this.#closed) return
    const kind = BackEndMessage[name] as unknown as MessageKind<RequestOf<N>, unknown>
    if (waiter && this.#waiting.length >= MAX_WAITING) {
      this.ended('the front-end answers nothing')
      return
    }
    const bytes = encodeMessage(kind.id, waiter ? MessageFlag.NEED_REPLY : 0, kind.request.write(request))
    if (waiter) this.#waiting.push({ id: kind.id, waiter })
    try {
      this.#connection.send(bytes, descriptor ? [descriptor] : [])
    } catch (error) {
      this.ended(error instanceof Error ? error.message : String(error))
    }
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#stream.add(bytes, descriptors)
    for (let message = this.#stream.next(); message; message = this.#stream.next()) {
      const { request, payload, descriptors: sent } = message
      const asked = this.#waiting.shift()
      const answers = asked?.id === request && payload.length === acknowledgement.write(0).length
      if (answers) asked.waiter.answered(acknowledgement.parse(payload), sent)
      else asked?.waiter.lost?.()
      for (const descriptor of sent) descriptor.close()
      if (!answers) {
        this.ended(`an answer to message ${request}, which nobody asked`)
        return
      }
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
    for (const { waiter } of this.#waiting.splice(0)) waiter.lost?.()
  }
}
