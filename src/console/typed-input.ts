import type { Machine } from '../machine/machine.ts'
import type { InputHold } from './input-hold.ts'
import { TERMINAL_WINDOW } from './protocol.ts'

/** Bytes between acknowledgements: a fraction of the window, so that the page continues before the window is full. */
const ACKNOWLEDGE_BYTES = TERMINAL_WINDOW / 4

/**
 * Terminal input of a page on its way to the machine. Accepted bytes are acknowledged to the page, which keeps the
 * rest, so that a long paste does not delay its keys and pictures. A page that sends more than its window is not read
 * until the machine follows.
 */
export class TypedInput {
  /** Bytes that the machine has not accepted. */
  #waiting = 0
  /** Bytes that were accepted and not acknowledged. */
  #taken = 0

  /** @param acknowledge sends the page the number of bytes that were accepted */
  constructor(
    private readonly machine: Machine,
    private readonly hold: InputHold,
    private readonly acknowledge: (bytes: number) => void,
  ) {}

  write(bytes: Uint8Array): void {
    this.#waiting += bytes.length
    const accepted = this.machine.writeTerminal(bytes)
    if (!accepted) {
      this.#accept(bytes.length)
      return
    }
    void accepted.then(() => this.#accept(bytes.length))
    if (this.#waiting > TERMINAL_WINDOW) void this.hold.until(accepted)
  }

  #accept(count: number): void {
    this.#waiting -= count
    this.#taken += count
    if (this.#taken < ACKNOWLEDGE_BYTES) return
    this.acknowledge(this.#taken)
    this.#taken = 0
  }
}
