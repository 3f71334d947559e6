import type { Frame } from '../console/protocol.ts'
import { toRgba } from './pixels.ts'

/** The guest's cursor as a value of the CSS property `cursor`. */
export function cursorStyle(frame: Extract<Frame, { kind: 'cursor' }>): string {
  const { width, height, hotX, hotY, words } = frame
  if (width === 0 || height === 0) return 'none'
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  toRgba(words)
  const data = new Uint8ClampedArray(words.buffer, words.byteOffset, words.byteLength)
  canvas.getContext('2d')?.putImageData(new ImageData(data, width, height), 0, 0)
  return `url(${canvas.toDataURL()}) ${Math.min(hotX, width - 1)} ${Math.min(hotY, height - 1)}, default`
}
