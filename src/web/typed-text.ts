import { TERMINAL_WINDOW } from '../console/protocol.ts'

/** Maximum length of one message, in bytes. */
const PIECE = 4096

/** Terminal input on its way to the server: at most a window of it is sent ahead, the rest waits here. */
export class TypedText {
  #room = TERMINAL_WINDOW
  #waiting: Uint8Array<ArrayBuffer>[] = []

  constructor(private readonly send: (bytes: Uint8Array<ArrayBuffer>) => void) {}

  write(bytes: Uint8Array<ArrayBuffer>): void {
    this.#waiting.push(bytes)
    this.#sendWaiting()
  }

  /** The machine accepted this many more bytes. */
  taken(bytes: number): void {
    this.#room += bytes
    this.#sendWaiting()
  }

  #sendWaiting(): void {
    let first = 0
    for (; first < this.#waiting.length && this.#room > 0; first++) {
      const rest = this.#sendSome(this.#waiting[first])
      if (rest.length === 0) continue
      this.#waiting[first] = rest
      break
    }
    this.#waiting.splice(0, first)
  }

  /** Sends bytes while there is room. @returns the rest */
  #sendSome(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const count = Math.min(bytes.length, this.#room)
    this.#room -= count
    for (let at = 0; at < count; at += PIECE) this.send(bytes.subarray(at, Math.min(count, at + PIECE)))
    return bytes.subarray(count)
  }
}
