import type { Rect } from '../services/display.ts'
import type { ScanoutMode } from './machine.ts'

/** Clips a rectangle to a scanout. @param part default: the whole scanout */
export function cutRect(part: Rect | undefined, { width, height }: ScanoutMode): Rect {
  const x = Math.min(Math.max(part?.x ?? 0, 0), width)
  const y = Math.min(Math.max(part?.y ?? 0, 0), height)
  return {
    x,
    y,
    width: Math.max(0, Math.min(part?.width ?? width, width - x)),
    height: Math.max(0, Math.min(part?.height ?? height, height - y)),
  }
}
