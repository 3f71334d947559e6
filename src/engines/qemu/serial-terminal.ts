import type { Readable, Writable } from 'node:stream'
import { STREAM_WINDOW } from '../guest/messages.ts'

/**
 * The serial port as the guest's terminal: firmware, boot loaders and kernels have their console there. It is the terminal
 * until the guest writes to its virtio console, which is the terminal from then on.
 */
export class SerialTerminal {
  /** Bytes that were shown and that the machine has not taken yet. */
  #untaken = 0
  #active = true

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

  /** The virtio console is the terminal from now on. */
  release(): void {
    this.#active = false
  }

  /** @param taken called once QEMU read the bytes, or ended */
  type(bytes: Uint8Array, taken: () => void): void {
    this.input.write(bytes, taken)
  }

  /** The machine took so many bytes of the terminal. @returns false if they are not from here */
  taken(bytes: number): boolean {
    if (this.#untaken === 0) return false
    this.#untaken -= bytes
    if (this.#untaken < STREAM_WINDOW) this.output.resume()
    return true
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#active) return
    this.#untaken += bytes.length
    if (this.#untaken >= STREAM_WINDOW) this.output.pause()
    this.show(bytes)
  }
}
