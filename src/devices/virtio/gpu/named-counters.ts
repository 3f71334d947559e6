/** Counters of numeric codes, reported by name. Codes without a name share the counter `unknown`. */
export class NamedCounters {
  readonly #names: ReadonlyMap<number, string>
  readonly #counts = new Map<number, number>()
  #unnamed = 0

  constructor(names: Readonly<Record<string, number>>) {
    this.#names = new Map(Object.entries(names).map(([name, code]) => [code, name]))
  }

  count(code: number): void {
    if (this.#names.has(code)) this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1)
    else this.#unnamed++
  }

  /** Counters above 0, by name. */
  inspect(): Record<string, number> {
    const counted: Record<string, number> = {}
    for (const [code, count] of this.#counts) counted[this.#names.get(code) ?? code] = count
    return this.#unnamed > 0 ? { ...counted, unknown: this.#unnamed } : counted
  }
}
