import type { InputEvent, Machine } from '../machine/machine.ts'

type Press = Extract<InputEvent, { type: 'key' | 'button' }>

/** Keys and buttons that a tab holds down, to release them when it closes. */
export class PressedKeys {
  readonly #held = new Map<string, Press>()

  constructor(private readonly machine: Machine) {}

  follow(event: InputEvent): void {
    if (event.type !== 'key' && event.type !== 'button') return
    const { type, device = '', code } = event
    if (event.pressed) this.#held.set(`${type} ${code} ${device}`, event)
    else this.#held.delete(`${type} ${code} ${device}`)
  }

  releaseAll(): void {
    for (const event of this.#held.values()) this.machine.input({ ...event, pressed: false })
    this.#held.clear()
  }
}
