/** Random numbers from a seed (xorshift32), so that a failure can be repeated. */
export class Random {
  #state: number

  constructor(seed: number) {
    // Multiplied so that successive seeds differ in all bits; 0 would stay 0.
    this.#state = Math.imul(seed | 0, 0x9e37_79b1) | 1
    for (let i = 0; i < 8; i++) this.next()
  }

  /** Returns 32 random bits. */
  next(): number {
    let state = this.#state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#state = state
    return state >>> 0
  }

  /** Returns an integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit)
  }

  /** Returns an integer from `min` to `max`. */
  from(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** Returns true in one of `count` calls. */
  oneIn(count: number): boolean {
    return this.below(count) === 0
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.next())
  }
}
