import { pollInEventLoop } from '../../../host/linux/ffi.ts'
import { END, type UnixStream } from '../../../host/linux/unix-stream.ts'
import { DiskError } from '../disk-error.ts'

/** How long a server may take to say what it has to say. */
const TIMEOUT_MS = 15_000

/** A server while nothing but the handshake is under way: what it says is waited for. */
export class Peer {
  readonly #stream: UnixStream
  readonly #patienceMs: number
  /** What came and was not taken yet. */
  #bytes = new Uint8Array(0)

  constructor(stream: UnixStream, patienceMs = TIMEOUT_MS) {
    this.#stream = stream
    this.#patienceMs = patienceMs
  }

  send(bytes: Uint8Array): void {
    this.#stream.send(bytes)
  }

  /** The next bytes it says. @throws {DiskError} where it does not say so many */
  async read(length: number): Promise<Uint8Array> {
    while (this.#bytes.length < length) await this.#receive()
    const bytes = this.#bytes.subarray(0, length)
    this.#bytes = this.#bytes.subarray(length)
    return bytes
  }

  /** Whether it said more than was read. */
  get saysMore(): boolean {
    return this.#bytes.length > 0
  }

  async #receive(): Promise<void> {
    const received = this.#stream.receive()
    if (received === END) throw new DiskError('the server left')
    if (received) {
      for (const descriptor of received.descriptors) descriptor.close()
      const bytes = new Uint8Array(this.#bytes.length + received.bytes.length)
      bytes.set(this.#bytes)
      bytes.set(received.bytes, this.#bytes.length)
      this.#bytes = bytes
    } else if (!(await readable(this.#stream.fd, this.#patienceMs))) throw new DiskError('the server does not answer')
  }
}

/** Waits, in Node's event loop, until there is something to read. @returns false where there was nothing for so long */
export function readable(fd: number, patienceMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (outcome: boolean): void => {
      clearTimeout(timer)
      poll.close()
      resolve(outcome)
    }
    const poll = pollInEventLoop(fd, () => end(true))
    const timer = setTimeout(() => end(false), patienceMs)
  })
}
