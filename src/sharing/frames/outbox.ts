import type { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import { Interest, type Reactor } from '../../host/linux/reactor/reactor.ts'
import { Readiness } from '../../host/linux/reactor/readiness.ts'
import { errnoName } from '../../host/linux/system-call-error.ts'
import type { UnixStream } from '../../host/linux/unix-stream.ts'
import type { OutgoingMessage } from './encode.ts'

const NO_DESCRIPTORS: readonly Descriptor[] = []

/** What is on its way to a consumer: one message, or all those of a buffer, and no more until they have gone. */
export class Outbox {
  readonly #stream: UnixStream
  readonly #writable: Readiness
  /** What the socket has no room for yet, the first of it from `#sent` on. */
  #statements: readonly OutgoingMessage[] = []
  #sent = 0

  /**
   * @param stream borrowed
   * @param failed told when nothing more can be sent, and why, where that is not just that the consumer is gone
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
    return this.#statements.length > 0
  }

  /** To be called only while it is not `busy`. */
  send(statements: readonly OutgoingMessage[]): void {
    this.#statements = statements
    this.#flush()
  }

  /** What is left is not sent. */
  close(): void {
    this.#writable.close()
    this.#statements = []
  }

  #flush(): void {
    for (let [first] = this.#statements; first; [first] = this.#statements) {
      const { bytes, descriptors } = first
      const result = this.#stream.write(bytes, this.#sent, this.#sent === 0 ? descriptors : NO_DESCRIPTORS)
      if (result === -Errno.EAGAIN) {
        this.#writable.ask()
        return
      }
      if (result < 0) {
        const gone = result === -Errno.EPIPE || result === -Errno.ECONNRESET
        this.failed(gone ? undefined : `sending to it fails with ${errnoName(-result)}`)
        return
      }
      this.#sent += result
      if (this.#sent < bytes.length) continue
      this.#sent = 0
      this.#statements = this.#statements.slice(1)
    }
  }
}
