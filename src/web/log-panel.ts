import type { StateMessage } from '../console/protocol.ts'
import { byId, make } from './dom.ts'

const MAX_LINES = 500

/** Log of the machine and its devices. */
export class LogPanel {
  readonly #list = byId('log-lines', HTMLElement)

  reset(): void {
    this.#list.replaceChildren()
  }

  append({ log, logSkipped }: StateMessage): void {
    const isAtEnd = this.#list.scrollTop + this.#list.clientHeight >= this.#list.scrollHeight - 4
    if (logSkipped > 0) this.#list.append(make('li', 'skipped', `${logSkipped} lines skipped`))
    this.#list.append(...log.map((line) => make('li', '', line)))
    while (this.#list.childElementCount > MAX_LINES) this.#list.firstElementChild?.remove()
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight
  }
}
