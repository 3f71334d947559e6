import { linuxKeyCode } from './key-codes.ts'

/** An event that says which modifiers and locks of this computer are on. */
export interface ModifierFlags {
  getModifierState(name: string): boolean
}

/** A key that switches a state of the keyboard on or off, here and in the guest. */
interface Lock {
  readonly key: number
  /** Linux code of its light. */
  readonly light: number
  /** Whether it is on in the guest, as far as its light and the presses since tell. */
  isOn: boolean
  /** The light as the guest set it last. */
  isLit: boolean
  /** The last flag that was compared; undefined if the guest's state has changed by itself since, and at first. */
  flag: boolean | undefined
  /** Set if this computer is known to have the lock: a flag of one that it does not have is never set. */
  exists: boolean
}

export type LockName = 'CapsLock' | 'NumLock'

/**
 * Keeps Caps Lock and Num Lock of the guest as they are on this computer, by the flags of its events: they can change
 * while another window has the focus, and macOS reports one press of Caps Lock as a keydown, the next as a keyup.
 *
 * Flags are compared when they change, so that a guest that has other uses for such a key is left alone. Scroll Lock is
 * an ordinary key: Linux lights it while a terminal is stopped.
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

  /** The guest's lights that are on, by their Linux codes. */
  lit(lights: readonly number[]): void {
    for (const lock of Object.values(this.#locks)) {
      const isLit = lights.includes(lock.light)
      // A report that repeats the last one may be older than a press since.
      if (isLit === lock.isLit) continue
      lock.isLit = isLit
      if (isLit === lock.isOn) continue
      lock.isOn = isLit
      lock.flag = undefined
    }
  }

  /**
   * The guest receives a press of the key. Its own flag is not compared: platforms differ in whether it has changed by
   * then.
   */
  pressed(name: LockName, event: ModifierFlags): void {
    const lock = this.#locks[name]
    lock.isOn = !lock.isOn
    lock.flag = event.getModifierState(name)
  }

  /** @param isTyping the event presses a key: the guest's locks are left as they were found until one is */
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
