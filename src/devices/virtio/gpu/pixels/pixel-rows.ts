import type { FramebufferLayout, PlaneLayout } from '../../../../services/framebuffer-layout.ts'
import { type PlaneShape, planesOf } from './image-planes.ts'
import { BYTES_PER_PIXEL } from './pixel-format.ts'
import type { PlaneRow, RowConverter } from './row-converter.ts'

/** Source of a framebuffer's bytes: a resource, or memory. */
export interface PixelSource {
  /** @returns the bytes copied; fewer than `length` at the end */
  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number
}

interface Plane extends PlaneShape, PlaneLayout {
  /** Index of the row that is loaded. */
  row: number
}

/** Loaded rows of up to three planes. All instances share them, because `convert` is synchronous. */
const $rows: PlaneRow[] = [planeRow(8192), planeRow(8192), planeRow(8192)]
/** The converted row. */
let $pixels: PlaneRow = planeRow(8192)

/**
 * Reads rows of a framebuffer that needs conversion: combines all planes and converts to B8G8R8A8.
 *
 *     rows.begin(x, width)                       // columns
 *     rows.convert(y, target, offset)            // one row; fastest in ascending order, since rows share chroma
 */
export class PixelRows {
  readonly #source: PixelSource
  readonly #planes: readonly Plane[]
  readonly #convert: RowConverter
  #x = 0
  #width = 0
  /** View of `$pixels` with the length of one row. */
  #pixels = $pixels.u8

  constructor(source: PixelSource, { fourcc, planes }: FramebufferLayout, convert: RowConverter) {
    this.#source = source
    this.#planes = (planesOf(fourcc) ?? []).map((shape, i) => ({ ...shape, ...planes[i], row: NONE }))
    this.#convert = convert
  }

  /** Sets the columns and drops loaded rows, which may have changed. */
  begin(x: number, width: number): void {
    this.#x = x
    this.#width = width
    const length = width * BYTES_PER_PIXEL
    if (length > $pixels.u8.length) $pixels = planeRow(2 * length)
    this.#pixels = $pixels.u8.subarray(0, length)
    for (const plane of this.#planes) plane.row = NONE
  }

  /** Converts row `y`. @returns false if a part of the row is missing: nothing was written */
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
