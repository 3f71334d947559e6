import type { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import { Interest, type Reactor } from '../../host/linux/reactor/reactor.ts'
import { Readiness } from '../../host/linux/reactor/readiness.ts'
import { errnoName } from '../../host/linux/system-call-error.ts'
import type { UnixStream } from '../../host/linux/unix-stream.ts'
import type { OutgoingMessage } from './encode.ts'

const NO_DESCRIPTORS: readonly Descriptor[] = []

/** Messages that are being sent to a consumer: one message, or all messages of one buffer. */
export class Outbox {
  readonly #stream: UnixStream
  readonly #writable: Readiness
  /** Unsent messages. `#sent` bytes of the first one are sent. */
  #messages: readonly OutgoingMessage[] = []
  #sent = 0

  /**
   * @param stream borrowed
   * @param failed called when sending fails, with the reason; undefined if the consumer closed the connection
   */
  constructor(
    stream: UnixStream,
    reactor: Pick<Reactor, 'watch'>,
    private readonly failed: (reason: string | undefined) => void,
  ) {
    this.#stream = stream
    this.#writable = new Readiness(reactor, stream.fd, Interest.WRITABLE, () => this.#flush())
  }

  get busy(): boolean {
    return this.#messages.length > 0
  }

  /** Sends messages. Must not be called while `busy`. */
  send(statements: readonly OutgoingMessage[]): void {
    this.#messages = statements
    this.#flush()
  }

  /** Discards unsent messages. */
  close(): void {
    this.#writable.close()
    this.#messages = []
  }

  #flush(): void {
    for (let [first] = this.#messages; first; [first] = this.#messages) {
      const { bytes, descriptors } = first
      const result = this.#stream.write(bytes, this.#sent, this.#sent === 0 ? descriptors : NO_DESCRIPTORS)
      if (result === -Errno.EAGAIN) {
        this.#writable.request()
        return
      }
      if (result < 0) {
        const gone = result === -Errno.EPIPE || result === -Errno.ECONNRESET
        this.failed(gone ? undefined : `sending failed: ${errnoName(-result)}`)
        return
      }
      this.#sent += result
      if (this.#sent < bytes.length) continue
      this.#sent = 0
      this.#messages = this.#messages.slice(1)
    }
  }
}
