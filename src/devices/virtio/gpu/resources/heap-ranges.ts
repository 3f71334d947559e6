/** A range of a space that is in use. */
export interface Range {
  /** Offset from the start of the space, in bytes. */
  readonly offset: number
  readonly length: number
}

/** Ranges of a space and their owners. Ranges never overlap. */
export class RangeMap<Owner extends Range> {
  /** In ascending order of offsets. */
  readonly #ranges: Owner[] = []

  constructor(readonly size: number) {}

  get count(): number {
    return this.#ranges.length
  }

  /** Returns the owners of ranges that overlap the given one. */
  overlapping(offset: number, length: number): Owner[] {
    let first = this.#countUpTo(offset)
    if (first > 0 && end(this.#ranges[first - 1]) > offset) first--
    let last = first
    while (last < this.count && this.#ranges[last].offset < offset + length) last++
    return this.#ranges.slice(first, last)
  }

  /** Adds a range, which must be free. */
  add(owner: Owner): void {
    this.#ranges.splice(this.#countUpTo(owner.offset), 0, owner)
  }

  remove(owner: Owner): void {
    const index = this.#ranges.indexOf(owner)
    if (index >= 0) this.#ranges.splice(index, 1)
  }

  /**
   * Returns the lowest free offset for `length` bytes with `guard` bytes to the neighbours; undefined if there is none.
   */
  findFree(length: number, guard: number): number | undefined {
    let at = 0
    for (const range of this.#ranges) {
      if (at + length + guard <= range.offset) return at
      at = end(range) + guard
    }
    return at + length <= this.size ? at : undefined
  }

  /** Returns the number of ranges that begin at or before `offset`. */
  #countUpTo(offset: number): number {
    let low = 0
    for (let high = this.#ranges.length; low < high; ) {
      const middle = (low + high) >>> 1
      if (this.#ranges[middle].offset <= offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

function end({ offset, length }: Range): number {
  return offset + length
}
