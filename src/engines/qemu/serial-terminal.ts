import type { Readable, Writable } from 'node:stream'
import { STREAM_WINDOW } from '../../machine/messages.ts'

/**
 * Serial port as the guest's terminal, for firmware, boot loaders and kernels that use it as their console. It stops
 * being the terminal when the guest writes to its virtio console.
 */
export class SerialTerminal {
  /** Bytes that were shown and that the machine has not acknowledged. */
  #untaken = 0
  #active = true
  /** Called when QEMU accepted the last input. */
  #typed: (() => void) | undefined

  /** @param show sends bytes to the machine */
  constructor(
    private readonly input: Writable,
    private readonly output: Readable,
    private readonly show: (bytes: Uint8Array) => void,
  ) {
    // QEMU may exit at any time, and its exit is reported elsewhere.
    input.on('error', () => {})
    output.on('data', (bytes: Uint8Array) => this.#receive(bytes))
  }

  get active(): boolean {
    return this.#active
  }

  /** Makes the virtio console the terminal. Input that QEMU did not accept is lost. */
  release(): void {
    this.#active = false
    this.#finishTyping()
  }

  /** QEMU is stopped: reads its output to the end, although the machine accepts no more. */
  close(): void {
    this.release()
    this.output.resume()
  }

  /** Sends input. @param taken called when QEMU accepted the bytes, or no longer reads */
  type(bytes: Uint8Array, taken: () => void): void {
    this.#typed = taken
    this.input.write(bytes, () => this.#finishTyping())
  }

  /** The machine acknowledged bytes of the terminal. @returns number of those that did not come from the serial port */
  taken(bytes: number): number {
    const own = Math.min(bytes, this.#untaken)
    this.#untaken -= own
    if (own > 0 && this.#untaken < STREAM_WINDOW) this.output.resume()
    return bytes - own
  }

  #finishTyping(): void {
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
