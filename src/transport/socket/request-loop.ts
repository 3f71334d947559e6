import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { Connection } from '../../host/socket/connection.ts'
import { MessageDeadline } from '../../host/socket/message-deadline.ts'
import type { MessageStream } from '../../host/socket/message-stream.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import { after, Pending } from '../../pending/pending.ts'

export interface ConversationEvents {
  /** Runs promises, and tells when a message takes too long. */
  readonly reactor: Pick<Reactor, 'settle' | 'timer'>
  /** The connection is over. Called once. @param reason for people; undefined where the peer just closed it */
  lost(reason: string | undefined): void
  log(line: string): void
}

/**
 * Takes messages off a connection one at a time, has them handled, and answers: the next is not looked at before the one before
 * it is done with, however long that takes. What a message says is the protocol's, in the classes that extend this.
 */
export abstract class RequestLoop<M> implements Receiver {
  readonly #connection: Connection
  readonly #messages: MessageStream<M>
  /** For the rest of a message that the peer began: one that keeps silent would hold the device for ever. */
  readonly #deadline: MessageDeadline
  /** The message that is being handled, where that takes a while. */
  #underWay: Pending | undefined
  #stopping = false
  #over = false

  constructor(
    connect: (receiver: Receiver) => Connection,
    messages: MessageStream<M>,
    protected readonly events: ConversationEvents,
  ) {
    this.#messages = messages
    this.#deadline = new MessageDeadline(events.reactor, () => this.ended('it does not finish its message'))
    this.#connection = connect(this)
  }

  /** Does what a message asks for. @returns the answer, or a wait for it. @throws where it is refused */
  protected abstract call(message: M): unknown
  protected abstract answer(message: M, answer: unknown): void
  protected abstract refuse(message: M, error: unknown): void

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    if (this.#over) {
      closeAll(descriptors)
      return
    }
    this.#messages.add(bytes, descriptors)
    this.#next()
  }

  ended(reason?: string): void {
    if (this.#over) return
    this.#over = true
    this.#deadline.met()
    this.#messages.close()
    this.#connection.close()
    this.events.lost(reason)
  }

  /** Ends the connection, after the message that is under way, and after what is to be done before. */
  stop(before: () => void | Pending): void {
    if (this.#stopping || this.#over) return
    this.#stopping = true
    this.#deadline.met()
    this.#connection.hold(true)
    after(after(this.#underWay, before), () => this.ended())
  }

  /** Sends bytes, with a descriptor that is borrowed. A peer that does not take them is gone. */
  protected send(bytes: Uint8Array, descriptor?: Descriptor): void {
    if (this.#over) return
    try {
      this.#connection.send(bytes, descriptor ? [descriptor] : NO_DESCRIPTORS)
    } catch (error) {
      this.ended(reasonOf(error))
    }
  }

  #next(): void {
    while (!this.#underWay && !this.#stopping && !this.#over) {
      const message = this.#messages.next()
      if (!message) break
      this.#deadline.met()
      this.#handle(message)
    }
    if (this.#messages.fault !== undefined) this.ended(this.#messages.fault)
    this.#deadline.owed(!this.#underWay && !this.#stopping && !this.#over && this.#messages.partial)
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
    this.#underWay = handled
    handled.onFinish(() => {
      this.#underWay = undefined
      if (this.#stopping || this.#over) return
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

/** What an error says, for people. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
