import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Connection } from '../../host/socket/connection.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import { acknowledgement, BackEndMessage, type MessageKind, type RequestOf } from './messages.ts'
import { MessageFlag } from './protocol.ts'
import { encodeMessage, RequestStream } from './request-stream.ts'

/** Maximum number of outstanding replies. A front-end that owes more ends the channel. */
const MAX_WAITING = 1024

/** Waits for the reply to a message. */
export interface Waiter {
  /** @param status 0 for success @param descriptors of the reply: closed after the call, unless released */
  answered(status: number, descriptors: readonly Descriptor[]): void
  /** Called if the channel closes before the reply. */
  lost?(): void
}

/**
 * Channel for requests of the back-end to the front-end. @vhost-user Back-end communication
 *
 * The thread never blocks on a reply, because the front-end may be waiting for one of ours.
 */
export class BackendChannel implements Receiver {
  readonly #connection: Connection
  readonly #stream = new RequestStream()
  readonly #waiting: { readonly id: number; readonly waiter: Waiter }[] = []
  #closed = false

  /** @param connect creates the connection, which passes messages to the receiver */
  constructor(
    connect: (receiver: Receiver) => Connection,
    private readonly log: (line: string) => void,
  ) {
    this.#connection = connect(this)
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Sends a message, with a borrowed descriptor. @param waiter requests a reply and receives it */
  send<N extends BackEndMessage>(name: N, request: RequestOf<N>, descriptor?: Descriptor, waiter?: Waiter): void {
    if (this.#closed) return
    const kind = BackEndMessage[name] as unknown as MessageKind<RequestOf<N>, unknown>
    if (waiter && this.#waiting.length >= MAX_WAITING) {
      this.ended('the front-end sends no replies')
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
      const pending = this.#waiting.shift()
      const isReply = pending?.id === request && payload.length === acknowledgement.write(0).length
      if (isReply) pending.waiter.answered(acknowledgement.parse(payload), sent)
      else pending?.waiter.lost?.()
      for (const descriptor of sent) descriptor.close()
      if (!isReply) {
        this.ended(`a reply to message ${request} without a request`)
        return
      }
    }
    if (this.#stream.fault !== undefined) this.ended(this.#stream.fault)
  }

  ended(reason?: string): void {
    if (this.#closed) return
    if (reason !== undefined) this.log(`back-end channel closed: ${reason}`)
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
