/** Rectangle in pixels. The origin is top left; x increases to the right, y downwards. @virtio 5.7.6.8 */
export interface Rect {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** Width and height in pixels. */
export type Size = Pick<Rect, 'width' | 'height'>

/** Rectangle object that is reused from request to request. */
export type MutableRect = { -readonly [K in keyof Rect]: Rect[K] }

/**
 * True if `rect` has pixels, and all are within `width` by `height`. Correct for any number, NaN and infinities
 * included.
 */
export function fits(rect: Rect, width: number, height: number): boolean {
  return (
    rect.x >= 0 &&
    rect.y >= 0 &&
    rect.width > 0 &&
    rect.height > 0 &&
    rect.x + rect.width <= width &&
    rect.y + rect.height <= height
  )
}

/** Intersection of two rectangles; undefined if it is empty. */
export function intersect(a: Rect, b: Rect): Rect | undefined {
  const x = Math.max(a.x, b.x)
  const y = Math.max(a.y, b.y)
  const width = Math.min(a.x + a.width, b.x + b.width) - x
  const height = Math.min(a.y + a.height, b.y + b.height) - y
  return width > 0 && height > 0 ? { x, y, width, height } : undefined
}
