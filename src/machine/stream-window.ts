import { STREAM_WINDOW } from './messages.ts'

/**
 * Bytes of one stream in transit: at most a window of them, so that output that is not taken waits in the
 * guest and not in a queue of messages.
 */
export class StreamWindow {
  #room = STREAM_WINDOW

  /** @param post sends a copy away */
  constructor(private readonly post: (bytes: Uint8Array) => void) {}

  /** @returns how many of the bytes were taken */
  write(bytes: Uint8Array): number {
    const take = Math.min(bytes.length, this.#room)
    if (take > 0) {
      this.#room -= take
      this.post(bytes.slice(0, take))
    }
    return take
  }

  /** The machine took so many. */
  taken(bytes: number): void {
    this.#room += bytes
  }
}
