import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import type { Rect, Surface } from '../../../services/display.ts'

/** Maximum size of a piece in bytes, unless one row is larger: a front-end blocks until it has a whole piece. */
const PIECE_BYTES = 128 << 10
const BYTES_PER_PIXEL = 4
/** Maximum number of spans of a piece; more are copied into one, because each costs time in the system call. */
const MAX_SPANS = 1000

/** Cuts rectangles of a surface into pieces, and locates the pixels of each, in place or as a copy. */
export class PixelPieces {
  /** Bytes of all pieces, and bytes of those that were copied. */
  bytes = 0
  copied = 0
  readonly #spans = new SpanList()
  #buffer = MemoryRegion.over(0, new Uint8Array(PIECE_BYTES))

  /** Returns the first rows of a rectangle that fit into one piece. */
  first(rect: Rect): Rect {
    const rows = Math.max(1, Math.floor(PIECE_BYTES / (rect.width * BYTES_PER_PIXEL)))
    return { ...rect, height: Math.min(rect.height, rows) }
  }

  /** Returns the pixels of one piece; valid until the next call. */
  of(surface: Surface, piece: Rect): SpanList {
    const spans = this.#spans
    const stride = piece.width * BYTES_PER_PIXEL
    const length = piece.height * stride
    this.bytes += length
    spans.clear()
    if (surface.locate(piece, spans) && spans.count <= MAX_SPANS) return spans
    this.copied += length
    spans.clear()
    surface.read(piece, this.#buffer.u8, 0, stride)
    spans.add(this.#buffer, 0, length)
    return spans
  }
}
