/**
 * Where a 32-bit format keeps its channels: how far to shift a pixel, read as a little-endian word, to have each in the
 * lowest byte.
 */
export interface PixelFormat {
  readonly name: string
  /** The same as `DRM_FORMAT_*`, which spells a word from its highest byte on; drm_fourcc.h */
  readonly fourcc: number
  readonly blue: number
  readonly green: number
  readonly red: number
  /** Alpha, or the byte that means nothing. */
  readonly alpha: number
}

export const BYTES_PER_PIXEL = 4

/** The format displays get: what is in it needs no conversion. */
export const BGRA: PixelFormat = { name: 'B8G8R8A8', fourcc: fourcc('AR24'), blue: 0, green: 8, red: 16, alpha: 24 }

/** `VIRTIO_GPU_FORMAT_*_UNORM`: the name spells the bytes in the order of their addresses. @virtio 5.7.6.8 */
const FORMATS: ReadonlyMap<number, PixelFormat> = new Map([
  [1, BGRA],
  [2, { ...BGRA, name: 'B8G8R8X8', fourcc: fourcc('XR24') }],
  [3, { name: 'A8R8G8B8', fourcc: fourcc('BA24'), alpha: 0, red: 8, green: 16, blue: 24 }],
  [4, { name: 'X8R8G8B8', fourcc: fourcc('BX24'), alpha: 0, red: 8, green: 16, blue: 24 }],
  [67, { name: 'R8G8B8A8', fourcc: fourcc('AB24'), red: 0, green: 8, blue: 16, alpha: 24 }],
  [68, { name: 'X8B8G8R8', fourcc: fourcc('RX24'), alpha: 0, blue: 8, green: 16, red: 24 }],
  [121, { name: 'A8B8G8R8', fourcc: fourcc('RA24'), alpha: 0, blue: 8, green: 16, red: 24 }],
  [134, { name: 'R8G8B8X8', fourcc: fourcc('XB24'), red: 0, green: 8, blue: 16, alpha: 24 }],
])

/** The format a number of the driver's stands for; undefined where it is none. */
export function pixelFormat(code: number): PixelFormat | undefined {
  return FORMATS.get(code)
}

/** Whether its bytes are in another order than displays get them in. */
export function needsConversion({ blue, red }: PixelFormat): boolean {
  return blue !== BGRA.blue || red !== BGRA.red
}

/** Turns a row of pixels into B, G, R, A in place; the fourth byte goes along as it is. */
export function convertRow(format: PixelFormat, bytes: Uint8Array, offset: number, pixels: number): void {
  const { blue, green, red, alpha } = format
  if (!needsConversion(format)) return
  if ((bytes.byteOffset + offset) % 4 === 0) {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + offset, pixels)
    for (let i = 0; i < pixels; i++) {
      const word = words[i]
      words[i] =
        ((word >>> blue) & 0xff) |
        (((word >>> green) & 0xff) << 8) |
        (((word >>> red) & 0xff) << 16) |
        ((word >>> alpha) << 24)
    }
    return
  }
  for (let i = offset; i < offset + pixels * BYTES_PER_PIXEL; i += BYTES_PER_PIXEL) {
    const word = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    bytes[i] = word >>> blue
    bytes[i + 1] = word >>> green
    bytes[i + 2] = word >>> red
    bytes[i + 3] = word >>> alpha
  }
}

function fourcc(code: string): number {
  return code.split('').reduce((word, letter, i) => word | (letter.charCodeAt(0) << (8 * i)), 0)
}
