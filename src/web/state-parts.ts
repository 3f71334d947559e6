/** Returns the elements of a list in a device's state as objects. @returns an empty list for another value */
export function elementsOf(list: unknown): Record<string, unknown>[] {
  if (typeof list !== 'object' || list === null) return []
  return Object.values(list).map((element: unknown) => partsOf(element))
}

export function partsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

export function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
