import { STREAM_WINDOW } from './messages.ts'

/**
 * Flow control of one byte stream: at most a window of bytes is unacknowledged, so that further output waits in the
 * guest and not in a queue of messages.
 */
export class StreamWindow {
  #room = STREAM_WINDOW

  /** @param post sends a copy of the bytes */
  constructor(private readonly post: (bytes: Uint8Array) => void) {}

  /** Posts bytes while the window has room. @returns number of bytes that were accepted */
  write(bytes: Uint8Array): number {
    const take = Math.min(bytes.length, this.#room)
    if (take > 0) {
      this.#room -= take
      this.post(bytes.slice(0, take))
    }
    return take
  }

  /** The machine acknowledged bytes. */
  acknowledge(bytes: number): void {
    this.#room += bytes
  }
}
