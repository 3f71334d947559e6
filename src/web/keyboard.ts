import { linuxKeyCode } from './key-codes.ts'
import { isLockName, LockKeys, type ModifierFlags } from './lock-keys.ts'

/** Properties of a `KeyboardEvent` that are used. */
export interface KeyEvent extends ModifierFlags {
  readonly code: string
  readonly key: string
  readonly repeat: boolean
  readonly timeStamp: number
  readonly ctrlKey: boolean
  readonly altKey: boolean
}

/** Key that is down in the guest. */
interface HeldKey {
  readonly code: number
  /** Modifier that the key is in the browser, as in `KeyboardEvent.key`; undefined for other keys. */
  readonly modifier: string | undefined
}

/** Keys that are pressed for a modifier whose own key was not reported. */
const MODIFIER_KEYS = { Shift: 'ShiftLeft', Control: 'ControlLeft', Alt: 'AltLeft', Meta: 'MetaLeft' } as const
const MODIFIERS: readonly string[] = [...Object.keys(MODIFIER_KEYS), 'AltGraph']

/** Windows reports AltGr as Control and Alt within this time, which is too short for a user. */
const ALT_GRAPH_MS = 5

/**
 * Converts key events of the browser to keys of the guest, and tracks which keys are down.
 *
 * Browsers do not report every press and release: shortcuts of the operating system consume some. The modifier and lock
 * flags of every event, including pointer events, are therefore compared with the keys that are down.
 *
 *     const keyboard = new Keyboard((code, pressed) => send({ type: 'key', code, pressed }))
 *     keyboard.down(event)        // 'release' for Ctrl+Alt+G: the user wants the keyboard back
 *     keyboard.compare(event)     // a pointer event: releases Shift if its release was not reported
 *     keyboard.releaseAll()       // the window lost the focus
 */
export class Keyboard {
  readonly locks = new LockKeys((code) => this.tap(code))
  /** Keys that are down, by the browser's name. */
  readonly #held = new Map<string, HeldKey>()
  #controlAt = Number.NEGATIVE_INFINITY
  /** True after an AltGr flag was seen: not every browser has it. */
  #reportsAltGraph = false
  /** True after the browser reported both the press and the release of Caps Lock. */
  #reportsCapsRelease = false

  constructor(private readonly send: (code: number, pressed: boolean) => void) {}

  down(event: KeyEvent): 'sent' | 'release' | 'ignored' {
    if (event.code === 'KeyG' && event.ctrlKey && event.altKey) {
      this.releaseAll()
      return 'release'
    }
    const name = keyName(event)
    const code = linuxKeyCode(name)
    const key = keyValue(event)
    const isModifier = MODIFIERS.includes(key)
    this.#releaseByFlags(event, key)
    if (code === undefined || event.repeat) return 'ignored'
    if (!isModifier) this.pressByFlags(event)
    const lock = isLockName(event.key) ? event.key : undefined
    this.locks.compare(event, true, lock)
    if (lock) this.locks.pressed(lock, event)
    if (lock === 'CapsLock' && this.#isSwitch(event)) {
      this.tap(code)
      return 'sent'
    }
    // If the key's release was not reported, it must be released before it can be pressed.
    this.#up(name)
    if (name === 'ControlLeft') this.#controlAt = event.timeStamp
    if (name === 'AltRight' && event.timeStamp - this.#controlAt < ALT_GRAPH_MS) this.#up('ControlLeft')
    this.#down(name, code, isModifier ? key : undefined)
    return 'sent'
  }

  up(event: KeyEvent): void {
    this.#up(keyName(event))
    // macOS does not report releases of other keys while Meta is down.
    if (keyValue(event) === 'Meta') this.releaseAll()
    if (event.key === 'CapsLock' && event.getModifierState('CapsLock')) this.#reportsCapsRelease = true
    this.compare(event)
  }

  /** Releases modifiers and switches locks that differ from the flags of an event. */
  compare(event: ModifierFlags): void {
    this.#releaseByFlags(event)
    this.locks.compare(event, false)
  }

  /** Presses modifiers according to the flags of an event, if their presses were not reported. */
  pressByFlags(event: ModifierFlags): void {
    for (const [modifier, name] of Object.entries(MODIFIER_KEYS)) {
      const code = linuxKeyCode(name)
      if (code === undefined || !event.getModifierState(modifier) || this.#holds(modifier)) continue
      if (this.#belongsToAltGraph(modifier, event)) continue
      this.#down(name, code, modifier)
    }
  }

  releaseAll(): void {
    for (const name of [...this.#held.keys()].reverse()) this.#up(name)
  }

  /** Presses keys in order and releases them in reverse order: Ctrl+Alt+Del. */
  chord(names: readonly string[]): void {
    this.releaseAll()
    const codes = names.map(linuxKeyCode).filter((code) => code !== undefined)
    for (const code of codes) this.send(code, true)
    for (const code of codes.reverse()) this.send(code, false)
  }

  /** Presses and releases a key by its Linux code. */
  tap(code: number): void {
    for (const [name, key] of this.#held) if (key.code === code) this.#up(name)
    this.send(code, true)
    this.send(code, false)
  }

  /**
   * True if Caps Lock must be sent as a whole press. macOS reports switching it on as a press, and switching it off as
   * a release. A press that leaves the flag set is treated so until the flags of another press differ.
   */
  #isSwitch(event: KeyEvent): boolean {
    this.#reportsCapsRelease ||= !event.getModifierState('CapsLock')
    return !this.#reportsCapsRelease
  }

  #releaseByFlags(event: ModifierFlags, except?: string): void {
    this.#reportsAltGraph ||= event.getModifierState('AltGraph')
    for (const [name, { modifier }] of this.#held) {
      if (modifier === undefined || modifier === except || event.getModifierState(modifier)) continue
      if (modifier === 'AltGraph' && !this.#reportsAltGraph) continue
      if (this.#belongsToAltGraph(modifier, event, except)) continue
      this.#up(name)
      if (modifier === 'Meta') this.releaseAll()
    }
  }

  /** True if the modifier's flag has no meaning: Windows reports AltGr as Control and Alt, and clears both flags. */
  #belongsToAltGraph(modifier: string, event: ModifierFlags, key?: string): boolean {
    if (modifier !== 'Control' && modifier !== 'Alt') return false
    return key === 'AltGraph' || event.getModifierState('AltGraph') || this.#holds('AltGraph')
  }

  #holds(modifier: string): boolean {
    return [...this.#held.values()].some((key) => key.modifier === modifier)
  }

  #down(name: string, code: number, modifier: string | undefined): void {
    this.#held.set(name, { code, modifier })
    this.send(code, true)
  }

  #up(name: string): void {
    const key = this.#held.get(name)
    if (!key) return
    this.#held.delete(name)
    this.send(key.code, false)
  }
}

/** Returns the physical key. On-screen keyboards have none, but name keys without characters. */
export function keyName({ code, key }: Pick<KeyEvent, 'code' | 'key'>): string {
  return code || key
}

/** Returns the key's value. X11 reports Alt as Meta while Shift is down. */
function keyValue({ key, code }: KeyEvent): string {
  return key === 'Meta' && code.startsWith('Alt') ? 'Alt' : key
}
