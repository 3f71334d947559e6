import type { SpanList } from '../memory/span-list.ts'
import type { FramebufferLayout } from './picture.ts'
import type { Rect } from './rect.ts'
import type { SharedBuffer } from './shared-buffer.ts'

export type { Rect } from './rect.ts'

/**
 * Where the GPU's scanouts are seen: a window, a page, a recorder. What the GPU needs from its host.
 *
 *     const display: Display = {
 *       scanout: (index, surface) => { surfaces[index] = surface },          // all of it is new
 *       damage: (index, rect) => { pending[index].push(rect) },              // read when a viewer is ready
 *       cursor: () => {},
 *       moveCursor: () => {},
 *     }
 *     ...
 *     surfaces[0]?.read(rect, pixels, 0, rect.width * 4)
 *
 * The GPU calls it while it serves the guest: take note, return soon, never throw, and do not call the GPU back.
 */
export interface Display {
  /** A scanout shows another surface, of which nothing was seen before, or nothing at all. */
  scanout(index: number, surface: Surface | undefined): void
  /** Pixels within `rect` (of the scanout) changed; nothing outside of it did. */
  damage(index: number, rect: Rect): void
  /** A scanout's cursor has another picture, or is hidden. */
  cursor(index: number, cursor: CursorPicture | undefined): void
  /** Where the cursor's top left corner is; parts of it may lie outside the scanout, so either may be negative. */
  moveCursor(index: number, x: number, y: number): void
  /**
   * Finds out what its viewers want, where they have to be asked each time the driver asks: the driver's question waits
   * until `told` is called, within this call or later. Without it they want what `GpuDevice.resize` said last.
   */
  preferredModes?(told: (wishes: PreferredModes) => void): void
}

/** What viewers want of each scanout, from the first on; undefined where nobody looks at it. */
export type PreferredModes = readonly (PreferredMode | undefined)[]

export interface PreferredMode {
  readonly width: number
  readonly height: number
  /** What describes the viewer's monitor, whole blocks and no more than 1024 bytes; the GPU makes one where it is missing. */
  readonly edid?: Uint8Array
}

/**
 * What a scanout shows: pixels somewhere, read a rectangle at a time, as they are at that moment.
 *
 * It stays safe to read for as long as somebody keeps it: what the guest took away reads as black.
 */
export interface Surface {
  readonly width: number
  readonly height: number
  readonly path: SurfacePath
  /** Why that is so, for people. */
  readonly reason: string
  /**
   * Its bytes as other devices and processes can have them; undefined where they cannot. Borrowed: the GPU closes it. A guest
   * that shows the same buffer again shows the same object.
   */
  readonly buffer: SharedBuffer | undefined
  /** The picture it is cut out of, as that lies in the buffer. */
  readonly layout: FramebufferLayout
  /** What of the picture is shown. */
  readonly source: Rect
  /**
   * Copies a rectangle as rows of B, G, R, X bytes, `targetStride` bytes apart. Never throws; a rectangle that is not
   * inside the surface, or that `target` has no room for, copies nothing.
   * @returns the bytes copied: those of the rectangle, less what the guest does not back any more, which reads as 0
   */
  read(rect: Rect, target: Uint8Array, targetOffset: number, targetStride: number): number
  /**
   * Appends where a rectangle's pixels lie, row after row, for whoever can take them from there without a copy.
   * @returns false where they cannot be had that way, being in another order or gone: what was appended means nothing then, and
   *   `read` copies them
   */
  locate(rect: Rect, into: SpanList): boolean
}

/**
 * How a surface's bytes are had: as a dma-buf, which devices import; as one run of memory that processes map; out of the
 * guest's pages, wherever they are; or out of a copy on the host, which the guest asked for.
 */
export type SurfacePath = 'dma-buf' | 'linear' | 'scatter' | 'copy'

/**
 * A cursor, copied once when the guest set it: rows of B, G, R, A bytes without gaps, alpha straight (not multiplied
 * into the colours), whatever the guest's convention is.
 */
export interface CursorPicture {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
  /** The pixel that points. */
  readonly hotX: number
  readonly hotY: number
}
