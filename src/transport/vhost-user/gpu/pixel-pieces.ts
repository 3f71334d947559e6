import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import type { Rect, Surface } from '../../../services/display.ts'

/** A piece is so many bytes at most, or one row: a front-end stands still until it has all of one. */
const PIECE_BYTES = 128 << 10
const BYTES_PER_PIXEL = 4
/** Pieces scattered over more are copied together: each has its price in a system call. */
const MAX_SPANS = 1000

/** Cuts rectangles of a surface into pieces, and finds the pixels of each: where they lie, or a copy where that is no use. */
export class PixelPieces {
  /** Bytes of pixels so far, and how many of them were copied. */
  bytes = 0
  copied = 0
  readonly #spans = new SpanList()
  #buffer = MemoryRegion.over(0, new Uint8Array(PIECE_BYTES))

  /** The first rows of a rectangle, as many as are one piece. */
  first(rect: Rect): Rect {
    const rows = Math.max(1, Math.floor(PIECE_BYTES / (rect.width * BYTES_PER_PIXEL)))
    return { ...rect, height: Math.min(rect.height, rows) }
  }

  /** The pixels of one piece, to be used up before the next is asked for. */
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
