import { pollInEventLoop } from '../../../host/linux/ffi.ts'
import { END, type UnixStream } from '../../../host/linux/unix-stream.ts'
import { DiskError } from '../disk-error.ts'

/** Maximum time that a server may send nothing. */
const TIMEOUT_MS = 15_000

/** Server during the handshake. Reads wait in Node's event loop. */
export class Peer {
  readonly #stream: UnixStream
  readonly #timeoutMs: number
  /** Received bytes that were not read yet. */
  #bytes = new Uint8Array(0)

  constructor(stream: UnixStream, timeoutMs = TIMEOUT_MS) {
    this.#stream = stream
    this.#timeoutMs = timeoutMs
  }

  send(bytes: Uint8Array): void {
    this.#stream.send(bytes)
  }

  /** Reads the next `length` bytes. @throws {DiskError} if the server disconnects or sends nothing for too long */
  async read(length: number): Promise<Uint8Array> {
    while (this.#bytes.length < length) await this.#receive()
    const bytes = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return bytes
  }

  /** True if received bytes were not read. */
  get hasUnreadBytes(): boolean {
    return this.#bytes.length > 0
  }

  async #receive(): Promise<void> {
    const received = this.#stream.receive()
    if (received === END) throw new DiskError('the server disconnected')
    if (received) {
      for (const descriptor of received.descriptors) descriptor.close()
      const bytes = new Uint8Array(this.#bytes.length + received.bytes.length)
      bytes.set(this.#bytes)
      bytes.set(received.bytes, this.#bytes.length)
      this.#bytes = bytes
    } else if (!(await readable(this.#stream.fd, this.#timeoutMs))) throw new DiskError('the server does not answer')
  }
}

/** Waits in Node's event loop until the descriptor is readable. @returns false after `timeoutMs` */
export function readable(fd: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (outcome: boolean): void => {
      clearTimeout(timer)
      poll.close()
      resolve(outcome)
    }
    const poll = pollInEventLoop(fd, () => end(true))
    const timer = setTimeout(() => end(false), timeoutMs)
  })
}
