import type { CursorPicture, Display, PreferredMode, SurfacePath } from '../../../services/display.ts'
import { intersect, type Rect } from '../../../services/rect.ts'
import type { BufferKind } from '../../../services/shared-buffer.ts'
import type { ImageLayout } from './pixels/image-layout.ts'
import type { Resource } from './resources/resource.ts'
import { ResourceSurface } from './resources/resource-surface.ts'

/** Longest side of a scanout, asked for or set: beyond what any display has, and what any viewer could draw. */
export const MAX_SIDE = 16384
/** Shortest side a viewer may ask for: below it, no timing is sensible. */
const MIN_SIDE = 64

export interface ScanoutSize {
  readonly width: number
  readonly height: number
}

/** What the inspector shows of a scanout. */
export type ScanoutInspection = {
  /** Somebody looks at it. */
  readonly connected: boolean
  readonly preferred: ScanoutSize
  /** What the guest made of it; null while it shows nothing. */
  readonly mode: ScanoutSize | null
  readonly path: SurfacePath | null
  readonly reason: string | null
  /** How others can have it; null where they cannot. */
  readonly kind: BufferKind | null
  readonly flushes: number
  readonly lastDamage: Rect | null
  /** Into the 2D resource it shows. */
  readonly bytesTransferred: number
  /** By the display, out of what it ever showed. */
  readonly bytesRead: number
  /** For the last flush: into the resource since the flush before, and by the display so far. */
  readonly bytesCopied: number
}

/** One of the device's outputs: the size its viewer wants, and what the guest shows on it. @virtio 5.7.6.4 */
export class Scanout {
  /** Somebody looks at it. */
  connected = true
  /** What describes the viewer's monitor, where the viewer has a description of its own. */
  edid: Uint8Array | undefined
  #preferred: ScanoutSize
  readonly #display: Display
  #resource: Resource | undefined
  #surface: ResourceSurface | undefined
  #image: ImageLayout | undefined
  /** What is shown of the resource's picture. */
  #rect: Rect = { x: 0, y: 0, width: 0, height: 0 }
  #cursorShown = false

  #flushes = 0
  /** Bytes read from surfaces that are gone. */
  #bytesRead = 0
  #lastDamage: Rect | undefined
  /** Of the last flush. */
  #transferred = 0
  #readBefore = 0

  constructor(
    readonly index: number,
    preferred: ScanoutSize,
    display: Display,
  ) {
    this.#preferred = sensibleSize(preferred)
    this.#display = display
  }

  /** The size the viewer wants: what the guest is told, not what it does. */
  get preferred(): ScanoutSize {
    return this.#preferred
  }

  /** What its viewer wants from now on; undefined where it has none. @returns whether that is news */
  wish(wish: PreferredMode | undefined): boolean {
    const { connected, edid } = this
    const { width, height } = this.#preferred
    this.connected = wish !== undefined
    this.edid = wish?.edid
    if (wish) this.#preferred = sensibleSize(wish)
    return (
      this.connected !== connected ||
      this.edid !== edid ||
      this.#preferred.width !== width ||
      this.#preferred.height !== height
    )
  }

  /** Shows a rectangle, inside it, of a picture in a resource. */
  show(resource: Resource, image: ImageLayout, rect: Rect): void {
    this.#retire()
    this.#resource = resource
    this.#image = image
    this.#rect = rect
    const surface = new ResourceSurface(resource, image, rect)
    resource.describe(surface.picture)
    this.#surface = surface
    this.#display.scanout(this.index, surface)
  }

  /** What it shows has other bytes, in another buffer. */
  renew(): void {
    if (this.#resource && this.#image) this.show(this.#resource, this.#image, this.#rect)
  }

  /** Shows nothing. */
  disable(): void {
    if (!this.#surface) return
    this.#retire()
    this.#display.scanout(this.index, undefined)
  }

  shows(resource: Resource): boolean {
    return this.#resource === resource
  }

  /**
   * Pixels of the picture it shows changed: tells the display of those it shows, in its own coordinates. The display
   * keeps what it is told until a viewer has drawn it, so each time it is told of a rectangle of its own.
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

  showCursor(picture: CursorPicture | undefined): void {
    this.#cursorShown = picture !== undefined
    this.#display.cursor(this.index, picture)
  }

  moveCursor(x: number, y: number): void {
    this.#display.moveCursor(this.index, x, y)
  }

  /** Back to where no driver was; the viewer's wish stays. */
  reset(): void {
    this.disable()
    if (this.#cursorShown) this.showCursor(undefined)
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

  #retire(): void {
    this.#bytesRead += this.#surface?.bytesRead ?? 0
    this.#surface = undefined
    this.#resource = undefined
    this.#image = undefined
  }
}

/** A size a display can have, whatever the viewer's window was dragged to. */
function sensibleSize({ width, height }: ScanoutSize): ScanoutSize {
  return { width: sensibleSide(width), height: sensibleSide(height) }
}

function sensibleSide(pixels: number): number {
  return Math.min(MAX_SIDE, Math.max(MIN_SIDE, Math.floor(pixels) || MIN_SIDE))
}
