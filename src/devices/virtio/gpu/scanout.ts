import type { CursorPicture, Display, PreferredMode, SurfacePath } from '../../../services/display.ts'
import { intersect, type Rect } from '../../../services/rect.ts'
import type { BufferKind } from '../../../services/shared-buffer.ts'
import { elements, flag, integer, list, nullable, record, type Shaped } from '../../../snapshot/shape.ts'
import { CURSOR_BYTES, CURSOR_SIDE } from './cursor.ts'
import type { PixelLayout } from './pixels/pixel-layout.ts'
import type { Resource } from './resources/resource.ts'
import { ResourceSurface } from './resources/resource-surface.ts'

/** Longest side of a scanout in pixels, preferred or set: more than any display has and any viewer can draw. */
export const MAX_SIDE = 16384
/** Shortest side in pixels that a viewer may prefer: smaller modes have no useful timing. */
const MIN_SIDE = 64

const U32 = integer(0, 0xffff_ffff)
const I32 = integer(-(2 ** 31), 2 ** 31 - 1)
const HOT_SPOT = integer(0, CURSOR_SIDE - 1)

/** Shape of a saved scanout. */
export const SCANOUT = record({
  /** The preferred mode, as the driver can read it. */
  connected: flag,
  width: integer(MIN_SIDE, MAX_SIDE),
  height: integer(MIN_SIDE, MAX_SIDE),
  surface: nullable(
    record({
      resource: U32,
      fourcc: U32,
      width: U32,
      height: U32,
      planes: list(record({ offset: U32, stride: U32 }), 1, 4),
      rect: record({ x: U32, y: U32, width: U32, height: U32 }),
    }),
  ),
  cursor: nullable(record({ data: elements(Uint8Array, CURSOR_BYTES), hotX: HOT_SPOT, hotY: HOT_SPOT })),
  cursorX: I32,
  cursorY: I32,
})
export type SavedScanout = Shaped<typeof SCANOUT>

export interface ScanoutSize {
  readonly width: number
  readonly height: number
}

/** State of a scanout, as the inspector shows it. */
export type ScanoutInspection = {
  /** True if a viewer shows it. */
  readonly connected: boolean
  readonly preferred: ScanoutSize
  /** The mode that the guest set; null while the scanout is disabled. */
  readonly mode: ScanoutSize | null
  readonly path: SurfacePath | null
  readonly reason: string | null
  /** How its surface is exported; null if it is not. */
  readonly kind: BufferKind | null
  readonly flushes: number
  readonly lastDamage: Rect | null
  /** Bytes transferred into the 2D resource it shows. */
  readonly bytesTransferred: number
  /** Bytes that the display read from all its surfaces so far. */
  readonly bytesRead: number
  /** Bytes copied for the last flush: into the resource before it, and by the display since then. */
  readonly bytesCopied: number
}

/** One scanout: the preferred mode of its viewer, and the surface that the guest shows. @virtio 5.7.6.4 */
export class Scanout {
  /** True if a viewer shows it. */
  connected = true
  /** EDID of the viewer's monitor, if the viewer has one. */
  edid: Uint8Array | undefined
  #preferred: ScanoutSize
  readonly #display: Display
  #resource: Resource | undefined
  #surface: ResourceSurface | undefined
  #layout: PixelLayout | undefined
  /** The part of the resource that is shown, in pixels. */
  #rect: Rect = { x: 0, y: 0, width: 0, height: 0 }
  #cursor: CursorPicture | undefined
  #cursorX = 0
  #cursorY = 0

  #flushes = 0
  /** Bytes read from earlier surfaces. */
  #bytesRead = 0
  #lastDamage: Rect | undefined
  /** Bytes transferred into the resource before the last flush, and read by the display until then. */
  #transferred = 0
  #readBefore = 0

  constructor(
    readonly index: number,
    preferred: ScanoutSize,
    display: Display,
  ) {
    this.#preferred = supportedSize(preferred)
    this.#display = display
  }

  /** The size that the viewer prefers. The driver reads it, and may set another mode. */
  get preferred(): ScanoutSize {
    return this.#preferred
  }

  /** Sets the preferred mode; undefined if the scanout has no viewer. @returns true if it changed */
  setPreferred(mode: PreferredMode | undefined): boolean {
    const { connected, edid } = this
    const { width, height } = this.#preferred
    this.connected = mode !== undefined
    this.edid = mode?.edid
    if (mode) this.#preferred = supportedSize(mode)
    return (
      this.connected !== connected ||
      this.edid !== edid ||
      this.#preferred.width !== width ||
      this.#preferred.height !== height
    )
  }

  /** Shows `rect` of a resource with the given layout. The rectangle must lie inside it. */
  show(resource: Resource, layout: PixelLayout, rect: Rect): void {
    this.#dropSurface()
    this.#resource = resource
    this.#layout = layout
    this.#rect = rect
    const surface = new ResourceSurface(resource, layout, rect)
    resource.exported.describe(surface.layout)
    this.#surface = surface
    this.#display.scanout(this.index, surface)
  }

  /** Shows the same rectangle as a new surface: the resource has other backing or another buffer. */
  renew(): void {
    if (this.#resource && this.#layout) this.show(this.#resource, this.#layout, this.#rect)
  }

  /** Disables the scanout: it shows no surface. */
  disable(): void {
    if (!this.#surface) return
    this.#dropSurface()
    this.#display.scanout(this.index, undefined)
  }

  shows(resource: Resource): boolean {
    return this.#resource === resource
  }

  /**
   * Reports damage of the shown resource to the display, in coordinates of the scanout. The display keeps each
   * rectangle until a viewer has drawn it, so every call passes a new object.
   * @param transferred bytes that were copied into the resource since its last flush
   */
  flush(rect: Rect, transferred: number): void {
    this.#flushes++
    this.#transferred = transferred
    this.#readBefore = this.#read
    const { x, y } = this.#rect
    const shown = intersect(rect, this.#rect)
    if (!shown) return
    this.#lastDamage = { ...shown, x: shown.x - x, y: shown.y - y }
    this.#display.damage(this.index, this.#lastDamage)
  }

  showCursor(cursor: CursorPicture | undefined): void {
    this.#cursor = cursor
    this.#display.cursor(this.index, cursor)
  }

  moveCursor(x: number, y: number): void {
    this.#cursorX = x
    this.#cursorY = y
    this.#display.moveCursor(this.index, x, y)
  }

  /** Disables the scanout and hides the cursor; the preferred mode stays. */
  reset(): void {
    this.disable()
    if (this.#cursor) this.showCursor(undefined)
    this.#cursorX = 0
    this.#cursorY = 0
  }

  save(): SavedScanout {
    const resource = this.#resource
    const layout = this.#layout
    const cursor = this.#cursor
    return {
      connected: this.connected,
      width: this.#preferred.width,
      height: this.#preferred.height,
      surface:
        resource && layout
          ? {
              resource: resource.id,
              fourcc: layout.fourcc,
              width: layout.width,
              height: layout.height,
              planes: layout.planes.map(({ offset, stride }) => ({ offset, stride })),
              rect: { ...this.#rect },
            }
          : null,
      cursor: cursor ? { data: cursor.data, hotX: cursor.hotX, hotY: cursor.hotY } : null,
      cursorX: this.#cursorX,
      cursorY: this.#cursorY,
    }
  }

  /** Shows the cursor of a saved scanout. */
  restoreCursor({ cursor, cursorX, cursorY }: SavedScanout): void {
    if (cursor) this.showCursor({ width: CURSOR_SIDE, height: CURSOR_SIDE, ...cursor })
    this.moveCursor(cursorX, cursorY)
  }

  /** True if the viewer prefers another mode than that of a saved scanout. */
  prefersOther({ connected, width, height }: SavedScanout): boolean {
    const preferred = this.#preferred
    return this.connected !== connected || preferred.width !== width || preferred.height !== height
  }

  inspect(): ScanoutInspection {
    const surface = this.#surface
    return {
      connected: this.connected,
      preferred: { ...this.#preferred },
      mode: surface ? { width: surface.width, height: surface.height } : null,
      path: surface?.path ?? null,
      reason: surface?.reason ?? null,
      kind: surface?.buffer?.kind ?? null,
      flushes: this.#flushes,
      lastDamage: this.#lastDamage ?? null,
      bytesTransferred: this.#resource?.bytesTransferred ?? 0,
      bytesRead: this.#read,
      bytesCopied: this.#transferred + this.#read - this.#readBefore,
    }
  }

  get #read(): number {
    return this.#bytesRead + (this.#surface?.bytesRead ?? 0)
  }

  #dropSurface(): void {
    this.#bytesRead += this.#surface?.bytesRead ?? 0
    this.#surface = undefined
    this.#resource = undefined
    this.#layout = undefined
  }
}

/** Limits a size to what a scanout supports, whatever the size of the viewer's window. */
function supportedSize({ width, height }: ScanoutSize): ScanoutSize {
  return { width: supportedSide(width), height: supportedSide(height) }
}

function supportedSide(pixels: number): number {
  return Math.min(MAX_SIDE, Math.max(MIN_SIDE, Math.floor(pixels) || MIN_SIDE))
}
