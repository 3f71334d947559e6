import { setTimeout as sleep } from 'node:timers/promises'
import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { END, UnixStream } from '../../../host/linux/unix-stream.ts'
import { FrameStream, type RawMessage } from '../frame-stream.ts'
import { encode, HELLO, MAGIC, MAX_FILES, MAX_MESSAGE_BYTES, REFUSED, VERSION, Wanted } from '../protocol.ts'

/** Consumer that sends given bytes, valid or not, and reads only when asked. */
export class RawConsumer {
  readonly stream: UnixStream
  readonly #messages = new FrameStream(MAX_MESSAGE_BYTES, MAX_FILES)
  /** True after the server closed the connection. */
  ended = false

  constructor(path: string) {
    this.stream = UnixStream.connect(path)
  }

  greet(flags: number = Wanted.SCANOUTS, version: number = VERSION): void {
    this.send(encode(HELLO, { magic: MAGIC, version, flags }))
  }

  /** Sends bytes. Those that the socket does not accept are lost. */
  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    this.stream.write(bytes, 0, descriptors)
  }

  /** Returns the next message, of `type` if given: skips messages of other types. @returns undefined after the end */
  async next(type?: number): Promise<RawMessage | undefined> {
    for (;;) {
      for (let message = this.#messages.next(); message; message = this.#messages.next()) {
        if (type === undefined || message.type === type) return message
        for (const descriptor of message.descriptors) descriptor.close()
      }
      const received = this.ended ? undefined : this.stream.receive()
      if (received === END) this.ended = true
      else if (received) this.#messages.add(received.bytes, received.descriptors)
      else if (this.ended) return undefined
      else await sleep(5)
    }
  }

  /** Returns the reason of the next REFUSED message. */
  async refusal(): Promise<string | undefined> {
    const message = await this.next(REFUSED.type)
    return message && new TextDecoder().decode(REFUSED.payload.parse(message.payload).bytes)
  }

  close(): void {
    this.#messages.close()
    this.stream.close()
  }
}
