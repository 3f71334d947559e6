import type { Readable, Writable } from 'node:stream'
import { STREAM_WINDOW } from '../../machine/messages.ts'

/**
 * The serial port as the guest's terminal: firmware, boot loaders and kernels have their console there. It is the terminal
 * until the guest writes to its virtio console, which is the terminal from then on.
 */
export class SerialTerminal {
  /** Bytes that were shown and that the machine has not taken yet. */
  #untaken = 0
  #active = true
  /** To be called once QEMU read what was typed last. */
  #typed: (() => void) | undefined

  /** @param show sends bytes to the machine */
  constructor(
    private readonly input: Writable,
    private readonly output: Readable,
    private readonly show: (bytes: Uint8Array) => void,
  ) {
    // QEMU may end at any time, and its end is reported elsewhere.
    input.on('error', () => {})
    output.on('data', (bytes: Uint8Array) => this.#receive(bytes))
  }

  get active(): boolean {
    return this.#active
  }

  /** The virtio console is the terminal from now on. What QEMU did not read by then, no program of the guest reads. */
  release(): void {
    this.#active = false
    this.#settle()
  }

  /** QEMU ends: its output is read to the end, though the machine takes no more. */
  close(): void {
    this.release()
    this.output.resume()
  }

  /** @param taken called once QEMU read the bytes, or reads no more */
  type(bytes: Uint8Array, taken: () => void): void {
    this.#typed = taken
    this.input.write(bytes, () => this.#settle())
  }

  /** The machine took so many bytes of the terminal. @returns how many of them are not from here */
  taken(bytes: number): number {
    const own = Math.min(bytes, this.#untaken)
    this.#untaken -= own
    if (own > 0 && this.#untaken < STREAM_WINDOW) this.output.resume()
    return bytes - own
  }

  #settle(): void {
    const typed = this.#typed
    this.#typed = undefined
    typed?.()
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#active) return
    this.#untaken += bytes.length
    if (this.#untaken >= STREAM_WINDOW) this.output.pause()
    this.show(bytes)
  }
}
