import { fourccOf } from './image-planes.ts'
import type { PlaneRow, RowConverter } from './row-converter.ts'
import * as yuv from './yuv.ts'

/** How pixels are in a plane's bytes, or in several planes'. */
export interface PixelFormat {
  readonly name: string
  /** The same as `DRM_FORMAT_*`, which spells a word from its highest byte on; drm_fourcc.h */
  readonly fourcc: number
  /** Undefined where its bytes are what displays get. */
  readonly convert: RowConverter | undefined
}

/** Of what displays get, and of all formats of 2D resources. */
export const BYTES_PER_PIXEL = 4

/** The format displays get. */
export const BGRA: PixelFormat = { name: 'B8G8R8A8', fourcc: fourccOf('AR24'), convert: undefined }

/** `VIRTIO_GPU_FORMAT_*_UNORM`: the name spells the bytes in the order of their addresses. @virtio 5.7.6.8 */
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
 * What blobs may be besides, by the numbers of Gallium's formats, of which the specification's are eight: as virglrenderer has
 * them. A name of several channels in a word spells them from the lowest bit on.
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

/** The format a number of the driver's stands for; undefined where it is none of the specification's. */
export function pixelFormat(code: number): PixelFormat | undefined {
  return FORMATS.get(code)
}

/** The same for blobs, which may be scanned out in more formats. */
export function blobFormat(code: number): PixelFormat | undefined {
  return BLOB_FORMATS.get(code)
}

/** The same by `DRM_FORMAT_*`. */
export function drmFormat(fourcc: number): PixelFormat | undefined {
  for (const format of BLOB_FORMATS.values()) if (format.fourcc === fourcc) return format
  return undefined
}

function format(name: string, code: string, convert?: RowConverter): PixelFormat {
  return { name, fourcc: fourccOf(code), convert }
}

/** Four channels of eight bits. @param blue how far to shift a word to have each in its lowest byte */
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

/** Three channels of ten bits. @param blue how far to shift a word to have the highest eight of each in its lowest byte */
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

/** Blue in the lowest five bits, then six of green, then five of red. The highest are repeated below: all set is 255. */
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
