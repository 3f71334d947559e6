import { fourccOf } from './image-planes.ts'
import type { PlaneRow, RowConverter } from './row-converter.ts'
import * as yuv from './yuv.ts'

/** Pixel format: arrangement of pixels in the bytes of one or several planes. */
export interface PixelFormat {
  readonly name: string
  /** The same format as `DRM_FORMAT_*`, which names a word from its highest byte; drm_fourcc.h */
  readonly fourcc: number
  /** Converts to B8G8R8A8; undefined if the bytes already have the layout that displays receive. */
  readonly convert: RowConverter | undefined
}

/** Bytes per pixel of the format that displays receive, and of all formats of 2D resources. */
export const BYTES_PER_PIXEL = 4

/** The format that displays receive. */
export const BGRA: PixelFormat = { name: 'B8G8R8A8', fourcc: fourccOf('AR24'), convert: undefined }

/** `VIRTIO_GPU_FORMAT_*_UNORM`: the name lists the bytes in the order of their addresses. @virtio 5.7.6.8 */
const FORMATS: ReadonlyMap<number, PixelFormat> = new Map([
  [1, BGRA],
  [2, format('B8G8R8X8', 'XR24')],
  [3, format('A8R8G8B8', 'BA24', words(24, 16, 8, 0))],
  [4, format('X8R8G8B8', 'BX24', words(24, 16, 8, 0))],
  [67, format('R8G8B8A8', 'AB24', words(16, 8, 0, 24))],
  [68, format('X8B8G8R8', 'RX24', words(8, 16, 24, 0))],
  [121, format('A8B8G8R8', 'RA24', words(8, 16, 24, 0))],
  [134, format('R8G8B8X8', 'XB24', words(16, 8, 0, 24))],
])

/**
 * Further formats of blobs, by Gallium's format numbers; eight of those are in the specification. The numbers are those
 * of virglrenderer. Names with several channels in a word list them from the lowest bit.
 */
const BLOB_FORMATS: ReadonlyMap<number, PixelFormat> = new Map([
  ...FORMATS,
  [7, format('B5G6R5', 'RG16', shorts)],
  [8, format('R10G10B10A2', 'AB30', deepWords(22, 12, 2))],
  [131, format('B10G10R10A2', 'AR30', deepWords(2, 12, 22))],
  [233, format('B10G10R10X2', 'XR30', deepWords(2, 12, 22))],
  [308, format('R10G10B10X2', 'XB30', deepWords(22, 12, 2))],
  [14, format('UYVY', 'UYVY', yuv.pairs(1))],
  [15, format('YUYV', 'YUYV', yuv.pairs(0))],
  [163, format('YV12', 'YV12', yuv.threePlanes(2))],
  [165, format('IYUV', 'YU12', yuv.threePlanes(1))],
  [166, format('NV12', 'NV12', yuv.twoPlanes(0))],
  [167, format('NV21', 'NV21', yuv.twoPlanes(1))],
  [314, format('P010', 'P010', yuv.deepTwoPlanes)],
])

/** Returns the format of a 2D resource; undefined if the specification does not define the number. */
export function pixelFormat(code: number): PixelFormat | undefined {
  return FORMATS.get(code)
}

/** Returns the format of a 2D resource with a fourcc; undefined if there is none. */
export function imageFormat(fourcc: number): PixelFormat | undefined {
  for (const format of FORMATS.values()) if (format.fourcc === fourcc) return format
  return undefined
}

/** Returns the format of a blob on a scanout; undefined if it is unknown. */
export function blobFormat(code: number): PixelFormat | undefined {
  return BLOB_FORMATS.get(code)
}

/** Returns the format of a fourcc; undefined if it is unknown. */
export function drmFormat(fourcc: number): PixelFormat | undefined {
  for (const format of BLOB_FORMATS.values()) if (format.fourcc === fourcc) return format
  return undefined
}

function format(name: string, code: string, convert?: RowConverter): PixelFormat {
  return { name, fourcc: fourccOf(code), convert }
}

/**
 * Four channels of 8 bits.
 * @param blue shift that moves this channel to the lowest byte; the same for the other channels
 */
function words(blue: number, green: number, red: number, alpha: number): RowConverter {
  return (rows, _phase, target, pixels) => {
    const { u32 } = rows[0]
    for (let i = 0; i < pixels; i++) {
      const word = u32[i]
      const colours = ((word >>> blue) & 0xff) | (((word >>> green) & 0xff) << 8) | (((word >>> red) & 0xff) << 16)
      target[i] = colours | ((word >>> alpha) << 24)
    }
  }
}

/** Three channels of 10 bits. @param blue shift that moves the upper 8 bits of this channel to the lowest byte */
function deepWords(blue: number, green: number, red: number): RowConverter {
  return (rows, _phase, target, pixels) => {
    const { u32 } = rows[0]
    for (let i = 0; i < pixels; i++) {
      const word = u32[i]
      const colours = ((word >>> blue) & 0xff) | (((word >>> green) & 0xff) << 8) | (((word >>> red) & 0xff) << 16)
      target[i] = colours | (0xff << 24)
    }
  }
}

/**
 * Blue in the lowest 5 bits, then 6 bits of green, then 5 of red. The upper bits are repeated below, so 31 becomes 255.
 */
function shorts(rows: readonly PlaneRow[], _phase: number, target: Uint32Array, pixels: number): void {
  const { u16 } = rows[0]
  for (let i = 0; i < pixels; i++) {
    const word = u16[i]
    const blue = word & 0x1f
    const green = (word >>> 5) & 0x3f
    const red = word >>> 11
    target[i] =
      (blue << 3) |
      (blue >>> 2) |
      (((green << 2) | (green >>> 4)) << 8) |
      (((red << 3) | (red >>> 2)) << 16) |
      (0xff << 24)
  }
}
