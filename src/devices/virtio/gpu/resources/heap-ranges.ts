/** A taken part of a space. */
export interface Range {
  /** In bytes, from the start of the space. */
  readonly offset: number
  readonly length: number
}

/** Which parts of a space are taken, and by whom: never two by the same byte. */
export class RangeMap<Owner extends Range> {
  /** In the order of their offsets. */
  readonly #taken: Owner[] = []

  constructor(readonly size: number) {}

  get count(): number {
    return this.#taken.length
  }

  /** Whoever has any of these bytes. */
  within(offset: number, length: number): Owner[] {
    let first = this.#after(offset)
    if (first > 0 && end(this.#taken[first - 1]) > offset) first--
    let last = first
    while (last < this.count && this.#taken[last].offset < offset + length) last++
    return this.#taken.slice(first, last)
  }

  /** Takes a part that nobody has. */
  add(owner: Owner): void {
    this.#taken.splice(this.#after(owner.offset), 0, owner)
  }

  remove(owner: Owner): void {
    const index = this.#taken.indexOf(owner)
    if (index >= 0) this.#taken.splice(index, 1)
  }

  /** The lowest place for so many bytes that keeps `guard` bytes from its neighbours; undefined where there is none. */
  place(length: number, guard: number): number | undefined {
    let at = 0
    for (const range of this.#taken) {
      if (at + length + guard <= range.offset) return at
      at = end(range) + guard
    }
    return at + length <= this.size ? at : undefined
  }

  /** How many begin at or before `offset`. */
  #after(offset: number): number {
    let low = 0
    for (let high = this.#taken.length; low < high; ) {
      const middle = (low + high) >>> 1
      if (this.#taken[middle].offset <= offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

function end({ offset, length }: Range): number {
  return offset + length
}
