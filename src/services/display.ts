import type { SpanList } from '../memory/span-list.ts'
import type { FramebufferLayout } from './framebuffer-layout.ts'
import type { Rect } from './rect.ts'
import type { SharedBuffer } from './shared-buffer.ts'

export type { Rect } from './rect.ts'

/**
 * Display: receives the scanouts of a GPU, for a window, a page or a recorder.
 *
 *     const display: Display = {
 *       scanout: (index, surface) => { surfaces[index] = surface },          // all of it is damaged
 *       damage: (index, rect) => { pending[index].push(rect) },              // read when a viewer is ready
 *       cursor: () => {},
 *       moveCursor: () => {},
 *     }
 *     ...
 *     surfaces[0]?.read(rect, pixels, 0, rect.width * 4)
 *
 * The GPU calls it while it serves the guest: implementations return soon, never throw, and do not call the GPU.
 */
export interface Display {
  /** A scanout shows another surface, all of it damaged; undefined if it is off. */
  scanout(index: number, surface: Surface | undefined): void
  /** Pixels within `rect` of the scanout changed, and none outside of it. */
  damage(index: number, rect: Rect): void
  /** A scanout's cursor changed; undefined if it is hidden. */
  cursor(index: number, cursor: CursorPicture | undefined): void
  /**
   * The cursor's top left corner moved. Either coordinate may be negative, because the cursor may lie partly outside.
   */
  moveCursor(index: number, x: number, y: number): void
  /**
   * Asks the viewers for their preferred modes, for displays that must be asked at each GET_DISPLAY_INFO and GET_EDID.
   * The driver's request waits until `answer` is called, within this call or later. Without this method, the preferred
   * modes are those of the last `GpuDevice.resize`.
   */
  preferredModes?(answer: (modes: PreferredModes) => void): void
}

/** Preferred mode of each scanout, by index; undefined if the scanout has no viewer. */
export type PreferredModes = readonly (PreferredMode | undefined)[]

export interface PreferredMode {
  readonly width: number
  readonly height: number
  /** EDID of the viewer's monitor: whole blocks, at most 1024 bytes. @default generated from the size */
  readonly edid?: Uint8Array
}

/**
 * Surface: the pixels that a scanout shows. Reads return the pixels at that moment.
 *
 * A surface may be kept and read after the scanout shows another one: pixels whose memory the guest took back read as
 * black.
 */
export interface Surface {
  readonly width: number
  readonly height: number
  readonly path: SurfacePath
  /** Reason for `path`, in one line. */
  readonly reason: string
  /**
   * Buffer of the surface for other devices and processes; undefined if it cannot be shared. The GPU closes it. If the
   * guest shows the same resource again, this is the same object.
   */
  readonly buffer: SharedBuffer | undefined
  /** Layout of the whole framebuffer in the buffer. */
  readonly layout: FramebufferLayout
  /** Part of the framebuffer that the scanout shows. */
  readonly source: Rect
  /**
   * Copies a rectangle as rows of B, G, R, X bytes, `targetStride` bytes apart. Never throws: a rectangle that is not
   * inside the surface, or does not fit into `target`, copies nothing.
   * @returns bytes copied: those of the rectangle except parts without backing pages, which become 0
   */
  read(rect: Rect, target: Uint8Array, targetOffset: number, targetStride: number): number
  /**
   * Appends the spans of a rectangle's pixels, row after row, for viewers that can use them in place.
   * @returns false if the pixels have another format or no backing: the appended spans are invalid, and `read` must be
   *   used
   */
  locate(rect: Rect, into: SpanList): boolean
}

/**
 * Way to the bytes of a surface: a dma-buf, which devices import; contiguous memory, which processes map; the guest's
 * scattered pages; or a copy on the host, which 2D resources have.
 */
export type SurfacePath = 'dma-buf' | 'linear' | 'scatter' | 'copy'

/**
 * Cursor, copied when the driver sets it: rows of B, G, R, A bytes without gaps, with straight alpha (not multiplied
 * into the colours), for both conventions of drivers.
 */
export interface CursorPicture {
  readonly width: number
  readonly height: number
  readonly data: Uint8Array
  /** Hot spot: the pixel that points. */
  readonly hotX: number
  readonly hotY: number
}
