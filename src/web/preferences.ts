/** What the user chose of `choices`, kept in this browser if it allows that. */
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
    // The browser keeps nothing for this page: the choice lasts as long as the page.
  }
}
