import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { Connection } from '../../host/socket/connection.ts'
import { MessageDeadline } from '../../host/socket/message-deadline.ts'
import type { MessageStream } from '../../host/socket/message-stream.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import { after, Pending } from '../../pending/pending.ts'

export interface RequestLoopEvents {
  /** Runs the promises of handlers, and the timer of partial messages. */
  readonly reactor: Pick<Reactor, 'settle' | 'timer'>
  /** Called once, when the connection ended. @param reason for messages; undefined if the peer closed it */
  lost(reason: string | undefined): void
  log(line: string): void
}

/**
 * Receives messages from a connection, and handles and answers one at a time: the next message is handled after the
 * previous one is answered. Subclasses implement the protocol.
 */
export abstract class RequestLoop<M> implements Receiver {
  readonly #connection: Connection
  readonly #messages: MessageStream<M>
  /** Limits the time for the rest of a partial message, so that a silent peer does not block the device. */
  readonly #deadline: MessageDeadline
  /** Finishes when the current message is answered; undefined if no message is being handled. */
  #current: Pending | undefined
  #stopping = false
  #closed = false

  constructor(
    connect: (receiver: Receiver) => Connection,
    messages: MessageStream<M>,
    protected readonly events: RequestLoopEvents,
  ) {
    this.#messages = messages
    this.#deadline = new MessageDeadline(events.reactor, () =>
      this.ended('the rest of a message did not arrive in time'),
    )
    this.#connection = connect(this)
  }

  /** Handles a message. @returns the answer, or a wait for it. @throws {Error} to refuse the message */
  protected abstract call(message: M): unknown
  protected abstract answer(message: M, answer: unknown): void
  protected abstract refuse(message: M, error: unknown): void

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    if (this.#closed) {
      closeAll(descriptors)
      return
    }
    this.#messages.add(bytes, descriptors)
    this.#next()
  }

  ended(reason?: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#deadline.clear()
    this.#messages.close()
    this.#connection.close()
    this.events.lost(reason)
  }

  /** Closes the connection after the current message is answered and `before` is finished. */
  stop(before: () => void | Pending): void {
    if (this.#stopping || this.#closed) return
    this.#stopping = true
    this.#deadline.clear()
    this.#connection.hold(true)
    after(after(this.#current, before), () => this.ended())
  }

  /** Sends bytes and a descriptor, which is borrowed. If that fails, the connection ends. */
  protected send(bytes: Uint8Array, descriptor?: Descriptor): void {
    if (this.#closed) return
    try {
      this.#connection.send(bytes, descriptor ? [descriptor] : NO_DESCRIPTORS)
    } catch (error) {
      this.ended(reasonOf(error))
    }
  }

  #next(): void {
    while (!this.#current && !this.#stopping && !this.#closed) {
      const message = this.#messages.next()
      if (!message) break
      this.#deadline.clear()
      this.#handle(message)
    }
    if (this.#messages.fault !== undefined) this.ended(this.#messages.fault)
    this.#deadline.setPending(!this.#current && !this.#stopping && !this.#closed && this.#messages.partial)
  }

  #handle(message: M): void {
    let result: unknown
    try {
      result = this.call(message)
    } catch (error) {
      this.refuse(message, error)
      return
    }
    if (result instanceof Pending || result instanceof Promise) this.#await(message, result)
    else this.answer(message, result)
  }

  #await(message: M, result: Pending<unknown> | Promise<unknown>): void {
    this.#connection.hold(true)
    const handled = new Pending()
    this.#current = handled
    handled.onFinish(() => {
      this.#current = undefined
      if (this.#stopping || this.#closed) return
      this.#connection.hold(false)
      this.#next()
    })
    const answer = (value: unknown): void => {
      this.answer(message, value)
      handled.finish()
    }
    const refuse = (error: unknown): void => {
      this.refuse(message, error)
      handled.finish()
    }
    if (result instanceof Pending) result.onFinish(answer)
    else this.events.reactor.settle(result.then(answer, refuse))
  }
}

const NO_DESCRIPTORS: readonly Descriptor[] = []

export function closeAll(descriptors: readonly Descriptor[]): void {
  for (const descriptor of descriptors) descriptor.close()
}

/** Message of an error or other thrown value. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
