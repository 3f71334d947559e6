import { linuxKeyCode } from './key-codes.ts'

/** Of a `KeyboardEvent`, what matters here. */
export interface KeyEvent {
  readonly code: string
  readonly repeat: boolean
  readonly timeStamp: number
  readonly ctrlKey: boolean
  readonly altKey: boolean
}

/** Windows reports AltGr as Control and Alt within so short a time, which no hand does. */
const ALT_GRAPH_MS = 5

/**
 * Turns key events of the browser into keys of the guest, and keeps track of what is held down so that nothing stays down.
 *
 *     const keyboard = new Keyboard((code, pressed) => send({ type: 'key', code, pressed }))
 *     keyboard.down(event)     // 'release' for Ctrl+Alt+G: the user wants the keyboard back
 *     keyboard.releaseAll()    // the window lost the focus
 */
export class Keyboard {
  /** Linux codes by the browser's name of the keys that are down. */
  readonly #held = new Map<string, number>()
  #controlAt = Number.NEGATIVE_INFINITY

  constructor(private readonly send: (code: number, pressed: boolean) => void) {}

  down(event: KeyEvent): 'sent' | 'release' | 'ignored' {
    if (event.code === 'KeyG' && event.ctrlKey && event.altKey) {
      this.releaseAll()
      return 'release'
    }
    const code = linuxKeyCode(event.code)
    // The guest repeats by itself.
    if (code === undefined || event.repeat || this.#held.has(event.code)) return 'ignored'
    if (event.code === 'ControlLeft') this.#controlAt = event.timeStamp
    if (event.code === 'AltRight' && event.timeStamp - this.#controlAt < ALT_GRAPH_MS) this.#up('ControlLeft')
    this.#held.set(event.code, code)
    this.send(code, true)
    return 'sent'
  }

  up(event: Pick<KeyEvent, 'code'>): void {
    this.#up(event.code)
    // While Meta is down, macOS does not tell of other keys that come up.
    if (event.code === 'MetaLeft' || event.code === 'MetaRight') this.releaseAll()
  }

  releaseAll(): void {
    for (const code of [...this.#held.keys()].reverse()) this.#up(code)
  }

  /** Keys one after the other, and up again in reverse: Ctrl+Alt+Del. */
  chord(codes: readonly string[]): void {
    this.releaseAll()
    const known = codes.map(linuxKeyCode).filter((code) => code !== undefined)
    for (const code of known) this.send(code, true)
    for (const code of known.reverse()) this.send(code, false)
  }

  #up(name: string): void {
    const code = this.#held.get(name)
    if (code === undefined) return
    this.#held.delete(name)
    this.send(code, false)
  }
}
