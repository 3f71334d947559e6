import { linuxKeyCode } from './key-codes.ts'

/** Event with the modifier and lock flags of the browser's computer. */
export interface ModifierFlags {
  getModifierState(name: string): boolean
}

/** Lock key of the browser's computer and of the guest. */
interface Lock {
  readonly key: number
  /** Linux code of its light. */
  readonly light: number
  /** State in the guest, according to its light and the presses since. */
  isOn: boolean
  /** Last reported state of the guest's light. */
  isLit: boolean
  /** Last compared flag; undefined at first, and after the guest changed its state itself. */
  flag: boolean | undefined
  /** True if the browser's computer has the lock: the flag of a missing lock is never set. */
  exists: boolean
}

export type LockName = 'CapsLock' | 'NumLock'

/**
 * Keeps the guest's Caps Lock and Num Lock equal to those of the browser's computer, by the flags of events: locks can
 * change while another window has the focus, and macOS reports one press of Caps Lock as a keydown and the next as a
 * keyup.
 *
 * Flags are compared only when they change, so that a guest can use such a key for other purposes. Scroll Lock is an
 * ordinary key: Linux lights it while a terminal is stopped.
 */
export class LockKeys {
  readonly #locks: Readonly<Record<LockName, Lock>> = {
    CapsLock: { key: keyOf('CapsLock'), light: 1, isOn: false, isLit: false, flag: undefined, exists: true },
    NumLock: { key: keyOf('NumLock'), light: 0, isOn: false, isLit: false, flag: undefined, exists: false },
  }

  /** @param tap presses and releases a key in the guest, by its Linux code */
  constructor(private readonly tap: (key: number) => void) {}

  isOn(name: LockName): boolean {
    return this.#locks[name].isOn
  }

  /** Reports the guest's lights that are on, by their Linux codes. */
  lit(lights: readonly number[]): void {
    for (const lock of Object.values(this.#locks)) {
      const isLit = lights.includes(lock.light)
      // A repeated report may be older than a press.
      if (isLit === lock.isLit) continue
      lock.isLit = isLit
      if (isLit === lock.isOn) continue
      lock.isOn = isLit
      lock.flag = undefined
    }
  }

  /**
   * Records that the guest receives a press of the key. The event's flag of that lock is not compared: whether it has
   * changed by then depends on the platform.
   */
  pressed(name: LockName, event: ModifierFlags): void {
    const lock = this.#locks[name]
    lock.isOn = !lock.isOn
    lock.flag = event.getModifierState(name)
  }

  /**
   * Compares the flags of an event.
   * @param isTyping true if it presses a key: before, the guest's locks are not changed
   */
  compare(event: ModifierFlags, isTyping: boolean, except?: LockName): void {
    for (const [name, lock] of Object.entries(this.#locks)) {
      if (name === except) continue
      const flag = event.getModifierState(name)
      lock.exists ||= flag
      if (!lock.exists || flag === lock.flag || (lock.flag === undefined && !isTyping)) continue
      lock.flag = flag
      if (flag === lock.isOn) continue
      lock.isOn = flag
      this.tap(lock.key)
    }
  }
}

export function isLockName(name: string): name is LockName {
  return name === 'CapsLock' || name === 'NumLock'
}

function keyOf(name: LockName): number {
  const key = linuxKeyCode(name)
  if (key === undefined) throw new Error(`${name} has no key code`)
  return key
}
