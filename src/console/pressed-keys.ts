import type { Machine } from '../machine/machine.ts'

/** Keys and buttons that a tab holds down, to release them when it closes. */
export class PressedKeys {
  readonly #keys = new Set<number>()
  readonly #buttons = new Set<number>()

  constructor(private readonly machine: Machine) {}

  key(code: number, pressed: boolean): void | Promise<void> {
    if (pressed) this.#keys.add(code)
    else this.#keys.delete(code)
    return this.machine.key(code, pressed)
  }

  button(code: number, pressed: boolean): void | Promise<void> {
    if (pressed) this.#buttons.add(code)
    else this.#buttons.delete(code)
    return this.machine.button(code, pressed)
  }

  releaseAll(): void {
    for (const code of this.#keys) this.machine.key(code, false)
    for (const code of this.#buttons) this.machine.button(code, false)
    this.#keys.clear()
    this.#buttons.clear()
  }
}
