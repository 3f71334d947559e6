import { linuxKeyCode } from './key-codes.ts'
import { isLockName, LockKeys, type ModifierFlags } from './lock-keys.ts'

/** The properties of a `KeyboardEvent` that matter here. */
export interface KeyEvent extends ModifierFlags {
  readonly code: string
  readonly key: string
  readonly repeat: boolean
  readonly timeStamp: number
  readonly ctrlKey: boolean
  readonly altKey: boolean
}

/** A key that is down in the guest. */
interface HeldKey {
  readonly code: number
  /** Name of the modifier that the key is here, as `KeyboardEvent.key` has it. */
  readonly modifier: string | undefined
}

/** Keys that stand for a modifier whose own key was never reported, by the modifier. */
const MODIFIER_KEYS = { Shift: 'ShiftLeft', Control: 'ControlLeft', Alt: 'AltLeft', Meta: 'MetaLeft' } as const
const MODIFIERS: readonly string[] = [...Object.keys(MODIFIER_KEYS), 'AltGraph']

/** Windows reports AltGr as Control and Alt within so short a time, which no hand does. */
const ALT_GRAPH_MS = 5

/**
 * Turns key events of the browser into keys of the guest, and keeps track of which keys are down.
 *
 * Browsers do not report every press and release: shortcuts of the operating system take some. The modifier and lock
 * flags of every event, the pointer's too, are therefore compared with the keys that are down.
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
  /** Set once a flag of AltGr was seen: not every browser has one. */
  #reportsAltGraph = false
  /** Set once the browser is known to report both the press and the release of Caps Lock. */
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
    // Its release was not reported: a key that is down is not pressed.
    this.#up(name)
    if (name === 'ControlLeft') this.#controlAt = event.timeStamp
    if (name === 'AltRight' && event.timeStamp - this.#controlAt < ALT_GRAPH_MS) this.#up('ControlLeft')
    this.#down(name, code, isModifier ? key : undefined)
    return 'sent'
  }

  up(event: KeyEvent): void {
    this.#up(keyName(event))
    // While Meta is down, macOS does not report other keys that come up.
    if (keyValue(event) === 'Meta') this.releaseAll()
    if (event.key === 'CapsLock' && event.getModifierState('CapsLock')) this.#reportsCapsRelease = true
    this.compare(event)
  }

  /** Releases modifiers and switches locks that are not as the flags of an event say. */
  compare(event: ModifierFlags): void {
    this.#releaseByFlags(event)
    this.locks.compare(event, false)
  }

  /** Presses modifiers that the flags of an event say are down: it belongs to a chord that began elsewhere. */
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

  /** Keys one after the other, and up again in reverse: Ctrl+Alt+Del. */
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
   * On macOS, Caps Lock goes down when it is switched on and up when it is switched off: each is a whole press for the
   * guest. A press that leaves the flag set is taken for that until the flags of another one differ.
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

  /** Whether the modifier's flag says nothing: Windows has AltGr for Control and Alt, and clears both. */
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

/** The physical key; on-screen keyboards have none, but name the keys that write nothing. */
export function keyName({ code, key }: Pick<KeyEvent, 'code' | 'key'>): string {
  return code || key
}

/** The key's value. X11 calls Alt Meta while Shift is down. */
function keyValue({ key, code }: KeyEvent): string {
  return key === 'Meta' && code.startsWith('Alt') ? 'Alt' : key
}
