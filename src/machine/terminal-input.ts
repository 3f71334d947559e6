import { Gate } from './gate.ts'
import { STREAM_WINDOW } from './messages.ts'

/** Maximum length of one message to the engine, in bytes. */
const MAX_SENT = 64 << 10

/**
 * Terminal input on its way to the engine: one message at a time, which the engine acknowledges when the guest's port
 * accepted it. Later input waits in one buffer, so that many small writes cost no more than their bytes.
 *
 *     const input = new TerminalInput((bytes) => engine.send({ type: 'terminal', bytes }))
 *     await input.write(bytes)
 *     input.taken()                     // the engine acknowledged: sends the next message
 */
export class TerminalInput {
  readonly #gate = new Gate()
  /** True while a message is not acknowledged. */
  #isSent = false
  /** Waiting bytes are in `[#start, #end)`. */
  #buffer = new Uint8Array(0)
  #start = 0
  #end = 0

  /** @param send takes ownership of the bytes */
  constructor(private readonly send: (bytes: Uint8Array) => void) {}

  /** Appends input. @returns a promise while more than a window of bytes waits; it resolves when there is room */
  write(bytes: Uint8Array): void | Promise<void> {
    this.#append(bytes)
    this.#sendNext()
    if (this.#end - this.#start > STREAM_WINDOW) return this.#gate.wait()
  }

  /** The engine acknowledged the last message. */
  taken(): void {
    this.#isSent = false
    this.#sendNext()
    if (this.#end - this.#start <= STREAM_WINDOW) this.#gate.open()
  }

  /** Discards waiting input. */
  clear(): void {
    this.#buffer = new Uint8Array(0)
    this.#start = 0
    this.#end = 0
    this.#gate.open()
  }

  #sendNext(): void {
    if (this.#isSent || this.#start === this.#end) return
    const until = Math.min(this.#end, this.#start + MAX_SENT)
    this.#isSent = true
    this.send(this.#buffer.slice(this.#start, until))
    this.#start = until
    if (this.#start === this.#end) this.#start = this.#end = 0
  }

  #append(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#buffer.length) {
      const waiting = this.#buffer.subarray(this.#start, this.#end)
      // The size at least doubles, so that each byte is moved a constant number of times.
      this.#buffer = new Uint8Array(Math.max(4096, 2 * (waiting.length + bytes.length)))
      this.#buffer.set(waiting)
      this.#start = 0
      this.#end = waiting.length
    }
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
  }
}
