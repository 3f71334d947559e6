/** Elements of a list in a device's state, each of them with parts; none where the state has another form. */
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
