/** A rectangle of pixels. 0,0 is top left, larger x moves right, larger y moves down. @virtio 5.7.6.8 */
export interface Rect {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** A rectangle that is filled in again for each request. */
export type MutableRect = { -readonly [K in keyof Rect]: Rect[K] }

/** Whether `rect` has pixels, all of them within `width` by `height`. No number, however large or odd, fools it. */
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

/** What two rectangles share, if anything. */
export function intersect(a: Rect, b: Rect): Rect | undefined {
  const x = Math.max(a.x, b.x)
  const y = Math.max(a.y, b.y)
  const width = Math.min(a.x + a.width, b.x + b.width) - x
  const height = Math.min(a.y + a.height, b.y + b.height) - y
  return width > 0 && height > 0 ? { x, y, width, height } : undefined
}
