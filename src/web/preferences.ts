/** What the user chose, kept in this browser where it allows that. */
export function readPreference(name: string, otherwise: boolean): boolean {
  try {
    const stored = localStorage.getItem(`outboard.${name}`)
    return stored === null ? otherwise : stored === 'yes'
  } catch {
    return otherwise
  }
}

export function writePreference(name: string, value: boolean): void {
  try {
    localStorage.setItem(`outboard.${name}`, value ? 'yes' : 'no')
  } catch {
    // The browser keeps nothing for this page: the choice lasts as long as the page.
  }
}
