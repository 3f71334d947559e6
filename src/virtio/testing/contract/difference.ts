import type { SavedArray, SavedValue } from '../../../snapshot/saved-state.ts'

/** Returns the first difference of two values, as text; undefined if they are equal. */
export function difference(
  actual: SavedValue | undefined,
  expected: SavedValue | undefined,
  what: string,
): string | undefined {
  if (isBytes(actual) && isBytes(expected) && actual.length === expected.length) {
    const at = actual.findIndex((byte, i) => byte !== expected[i])
    return at < 0 ? undefined : `${what}.${at} is ${actual[at]}, not ${expected[at]}`
  }
  const [items, others] = [entries(actual), entries(expected)]
  if (!items || !others) return Object.is(actual, expected) ? undefined : `${what} is ${actual}, not ${expected}`
  if (items.length !== others.length) return `${what} has ${items.length} items, not ${others.length}`
  for (const [i, [name, item]] of items.entries()) {
    const [otherName, other] = others[i]
    if (name !== otherName) return `${what} has ${name}, not ${otherName}`
    const found = difference(item, other, `${what}.${name}`)
    if (found !== undefined) return found
  }
  return undefined
}

function isBytes(value: SavedValue | undefined): value is Uint8Array {
  return value instanceof Uint8Array
}

function entries(value: SavedValue | undefined): [string, SavedValue][] | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  if (ArrayBuffer.isView(value)) return Array.from(value as SavedArray, (item, i) => [String(i), item])
  return Object.entries(value)
}
