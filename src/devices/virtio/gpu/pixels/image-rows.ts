import type { Picture, PicturePlane } from '../../../../services/picture.ts'
import { type PlaneShape, planesOf } from './image-planes.ts'
import { BYTES_PER_PIXEL } from './pixel-format.ts'
import type { PlaneRow, RowConverter } from './row-converter.ts'

/** Where a picture's bytes are read from: a resource, or memory. */
export interface ImageSource {
  /** @returns the bytes copied, fewer where there are no more */
  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number
}

interface Plane extends PlaneShape, PicturePlane {
  /** Which of its rows is at hand. */
  row: number
}

/** The rows at hand, of three planes at most. All pictures share them: whoever reads one is done before it returns. */
const $rows: PlaneRow[] = [planeRow(8192), planeRow(8192), planeRow(8192)]
/** What a row has become. */
let $pixels: PlaneRow = planeRow(8192)

/**
 * Rows of a picture that is not as displays get it: read out of all its planes, and converted.
 *
 *     rows.begin(x, width)                       // these columns
 *     rows.convert(y, target, offset)            // of this row; rows that share colours are best asked for in their order
 */
export class ImageRows {
  readonly #source: ImageSource
  readonly #planes: readonly Plane[]
  readonly #convert: RowConverter
  #x = 0
  #width = 0
  /** As many bytes of `$pixels` as a row has. */
  #pixels = $pixels.u8

  constructor(source: ImageSource, { fourcc, planes }: Picture, convert: RowConverter) {
    this.#source = source
    this.#planes = (planesOf(fourcc) ?? []).map((shape, i) => ({ ...shape, ...planes[i], row: NONE }))
    this.#convert = convert
  }

  /** Takes the columns that are wanted, and forgets rows: they may have changed. */
  begin(x: number, width: number): void {
    this.#x = x
    this.#width = width
    const length = width * BYTES_PER_PIXEL
    if (length > $pixels.u8.length) $pixels = planeRow(2 * length)
    this.#pixels = $pixels.u8.subarray(0, length)
    for (const plane of this.#planes) plane.row = NONE
  }

  /** @returns false where not all of the row is there: nothing was written */
  convert(y: number, target: Uint8Array, offset: number): boolean {
    const planes = this.#planes
    for (let i = 0; i < planes.length; i++) if (!this.#load(planes[i], i, y)) return false
    this.#convert($rows, this.#x & 1, $pixels.u32, this.#width)
    target.set(this.#pixels, offset)
    return true
  }

  #load(plane: Plane, index: number, y: number): boolean {
    const row = Math.floor(y / plane.down)
    if (row === plane.row) return true
    const first = Math.floor(this.#x / plane.across)
    const length = (Math.ceil((this.#x + this.#width) / plane.across) - first) * plane.bytes
    if (length > $rows[index].u8.length) $rows[index] = planeRow(2 * length)
    const source = plane.offset + row * plane.stride + first * plane.bytes
    if (this.#source.read(source, $rows[index].u8, 0, length) < length) return false
    plane.row = row
    return true
  }
}

const NONE = -1

/** @param length a multiple of 4 */
function planeRow(length: number): PlaneRow {
  const { buffer } = new Uint32Array(Math.ceil(length / 4))
  return { u8: new Uint8Array(buffer), u16: new Uint16Array(buffer), u32: new Uint32Array(buffer) }
}
