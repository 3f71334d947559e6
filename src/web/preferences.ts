/**
 * Reads the user's choice from the browser's storage.
 * @returns `otherwise` if there is none or storage is not allowed
 */
export function readPreference<T extends string>(name: string, choices: readonly T[], otherwise: T): T {
  try {
    const stored = localStorage.getItem(`outboard.${name}`)
    return choices.find((choice) => choice === stored) ?? otherwise
  } catch {
    return otherwise
  }
}

export function writePreference(name: string, choice: string): void {
  try {
    localStorage.setItem(`outboard.${name}`, choice)
  } catch {
    // Storage is not allowed: the choice lasts until the page is closed.
  }
}
