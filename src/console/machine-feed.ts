import type { Machine, Rect, StopReason } from '../machine/machine.ts'
import { LogHistory } from './log-history.ts'
import { TerminalHistory } from './terminal-history.ts'

const TERMINAL_HISTORY_BYTES = 256 * 1024

/** Listener for changes. The new state is in the feed and the machine. */
export interface FeedListener {
  damage(scanout: number, rect: Rect): void
  /** The mode of a scanout changed; all of its pixels are damaged. */
  mode(scanout: number): void
  cursor(scanout: number): void
  terminal(): void
  /** Lights, log or end of the guest changed. */
  state(): void
}

/** State and bounded history of the machine's events for tabs that connect later. Shared by all tabs. */
export class MachineFeed {
  readonly terminal = new TerminalHistory(TERMINAL_HISTORY_BYTES)
  readonly log = new LogHistory()
  readonly leds = new Set<number>()
  readonly #listeners = new Set<FeedListener>()
  readonly #stopListening: () => void
  #stopped: StopReason | undefined

  constructor(machine: Machine) {
    this.#stopListening = machine.listen({
      progress: (step) => this.#logged(step),
      log: (line) => this.#logged(line),
      mode: (scanout) => this.#notify((listener) => listener.mode(scanout)),
      damage: (scanout, rect) => this.#notify((listener) => listener.damage(scanout, rect)),
      cursor: (scanout) => this.#notify((listener) => listener.cursor(scanout)),
      terminal: (bytes) => {
        this.terminal.append(bytes)
        this.#notify((listener) => listener.terminal())
      },
      led: (code, on, device) => {
        // The page shows the lights of the keyboard that it types on.
        if (device !== undefined) return
        if (on) this.leds.add(code)
        else this.leds.delete(code)
        this.#notify((listener) => listener.state())
      },
      stopped: (reason) => {
        this.#stopped = reason
        this.#notify((listener) => listener.state())
      },
    })
  }

  /** Reason why the guest stopped; undefined while it runs. */
  get stopped(): StopReason | undefined {
    return this.#stopped
  }

  /** Adds a listener. @returns a function that removes it */
  listen(listener: FeedListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#stopListening()
  }

  #logged(line: string): void {
    this.log.append(line)
    this.#notify((listener) => listener.state())
  }

  #notify(what: (listener: FeedListener) => void): void {
    for (const listener of this.#listeners) what(listener)
  }
}
