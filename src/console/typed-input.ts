import type { Machine } from '../machine/machine.ts'
import type { InputHold } from './input-hold.ts'
import { TERMINAL_WINDOW } from './protocol.ts'

/** Bytes between acknowledgements: a part of the window, so that the page continues before that is used up. */
const TELL_BYTES = TERMINAL_WINDOW / 4

/**
 * What a page types into the terminal, on its way to the machine. Acknowledgements tell the page how much was taken; it keeps the rest, so
 * that a long paste does not hold up its keys and pictures; a page that sends more than its window is not read meanwhile.
 */
export class TypedInput {
  /** Bytes the machine has not taken. */
  #waiting = 0
  /** Bytes taken and not acknowledged. */
  #taken = 0

  /** @param tell tells the page how many more bytes were taken */
  constructor(
    private readonly machine: Machine,
    private readonly hold: InputHold,
    private readonly tell: (bytes: number) => void,
  ) {}

  write(bytes: Uint8Array): void {
    this.#waiting += bytes.length
    const taken = this.machine.writeTerminal(bytes)
    if (!taken) {
      this.#tookAll(bytes.length)
      return
    }
    void taken.then(() => this.#tookAll(bytes.length))
    if (this.#waiting > TERMINAL_WINDOW) void this.hold.until(taken)
  }

  #tookAll(count: number): void {
    this.#waiting -= count
    this.#taken += count
    if (this.#taken < TELL_BYTES) return
    this.tell(this.#taken)
    this.#taken = 0
  }
}
