import type { Rect, Size } from './rect.ts'

/** Maximum number of rectangles: one more merges the two with the smallest waste. */
const MAX_RECTS = 8
/** Two rectangles merge at once if that adds at most this many pixels, which costs less than another message. */
const CHEAP_WASTE = 4096

/**
 * Damage of a scanout since it was last taken: a few rectangles that cover every change, and little more.
 *
 *     damage.add({ x: 0, y: 16, width: 80, height: 16 })
 *     for (const rect of damage.take(mode)) ...   // empty afterwards
 */
export class Damage {
  #rects: Rect[] = []

  get isEmpty(): boolean {
    return this.#rects.length === 0
  }

  /** Damages the whole scanout. Its size counts when the damage is taken. */
  addAll(): void {
    this.#rects = [{ x: 0, y: 0, width: Number.MAX_SAFE_INTEGER, height: Number.MAX_SAFE_INTEGER }]
  }

  add(rect: Rect): void {
    if (rect.width <= 0 || rect.height <= 0) return
    let grown = rect
    // A rectangle that grew may overlap others. Each iteration removes one, so this ends.
    for (let cheap = this.#cheapest(grown); cheap && cheap.waste <= CHEAP_WASTE; cheap = this.#cheapest(grown)) {
      grown = union(grown, this.#rects[cheap.index])
      this.#rects.splice(cheap.index, 1)
    }
    this.#rects.push(grown)
    if (this.#rects.length > MAX_RECTS) this.#mergeOnePair()
  }

  /** Returns the rectangles, clipped to the scanout, and clears the damage. */
  take(mode: Size): Rect[] {
    const cut = this.#rects.map((rect) => clip(rect, mode)).filter(({ width, height }) => width > 0 && height > 0)
    this.#rects = []
    return cut
  }

  #cheapest(rect: Rect): { index: number; waste: number } | undefined {
    let best: { index: number; waste: number } | undefined
    this.#rects.forEach((other, index) => {
      const waste = wasteOf(rect, other)
      if (!best || waste < best.waste) best = { index, waste }
    })
    return best
  }

  #mergeOnePair(): void {
    let first = 0
    let second = 1
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < this.#rects.length; i++) {
      for (let j = i + 1; j < this.#rects.length; j++) {
        const waste = wasteOf(this.#rects[i], this.#rects[j])
        if (waste >= least) continue
        least = waste
        first = i
        second = j
      }
    }
    const [other] = this.#rects.splice(second, 1)
    this.#rects[first] = union(this.#rects[first], other)
  }
}

/** Unchanged pixels that a merge of two rectangles would send; negative if they overlap much. */
function wasteOf(a: Rect, b: Rect): number {
  const both = union(a, b)
  return both.width * both.height - a.width * a.height - b.width * b.height
}

function union(a: Rect, b: Rect): Rect {
  const x = Math.min(a.x, b.x)
  const y = Math.min(a.y, b.y)
  return {
    x,
    y,
    width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y,
  }
}

function clip(rect: Rect, mode: Size): Rect {
  const x = Math.max(0, rect.x)
  const y = Math.max(0, rect.y)
  return {
    x,
    y,
    width: Math.min(mode.width, rect.x + rect.width) - x,
    height: Math.min(mode.height, rect.y + rect.height) - y,
  }
}
