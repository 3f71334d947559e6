import type { FramebufferLayout } from '../../../../services/framebuffer-layout.ts'

/** One plane of a format: bytes of a sample, and pixels that share a sample in each direction. */
export interface PlaneShape {
  readonly bytes: number
  readonly across: number
  readonly down: number
}

/**
 * `DRM_FORMAT_MOD_LINEAR`: rows of pixels from top to bottom. Other modifiers are known only to the GPUs that define
 * them.
 */
export const MODIFIER_LINEAR = 0n

const packed = (bytes: number): readonly PlaneShape[] => [{ bytes, across: 1, down: 1 }]
/** Luma at full resolution; both chroma components interleaved in a second plane. */
const twoPlanes = (bytes: number, across: number, down: number): readonly PlaneShape[] => [
  { bytes, across: 1, down: 1 },
  { bytes: 2 * bytes, across, down },
]
/** Luma at full resolution; each chroma component in a plane of its own. */
const threePlanes = (across: number, down: number): readonly PlaneShape[] => [
  { bytes: 1, across: 1, down: 1 },
  { bytes: 1, across, down },
  { bytes: 1, across, down },
]

const [ONE, TWO, THREE, FOUR, EIGHT] = [1, 2, 3, 4, 8].map(packed)
/** Two pixels in four bytes. */
const PAIRS: readonly PlaneShape[] = [{ bytes: 4, across: 2, down: 1 }]

/** Planes of `DRM_FORMAT_*`, by fourcc. Formats with equal planes share one list. drm_fourcc.h */
const SHAPES: ReadonlyMap<number, readonly PlaneShape[]> = new Map(
  (
    [
      ['R8  ', ONE],
      ['R16 ,GR88,RG88,RG16,BG16,XR15,AR15,XR12,AR12', TWO],
      ['RG24,BG24', THREE],
      ['XR24,AR24,XB24,AB24,RX24,RA24,BX24,BA24,XR30,AR30,XB30,AB30,GR32', FOUR],
      ['AB4H,XB4H,AR4H,XR4H', EIGHT],
      ['YUYV,YVYU,UYVY,VYUY', PAIRS],
      ['NV12,NV21', twoPlanes(1, 2, 2)],
      ['NV16,NV61', twoPlanes(1, 2, 1)],
      ['NV24,NV42', twoPlanes(1, 1, 1)],
      ['P010,P012,P016', twoPlanes(2, 2, 2)],
      ['P210', twoPlanes(2, 2, 1)],
      ['YU12,YV12', threePlanes(2, 2)],
      ['YU16,YV16', threePlanes(2, 1)],
      ['YU24,YV24', threePlanes(1, 1)],
    ] as const
  ).flatMap(([codes, shapes]) => codes.split(',').map((code) => [fourccOf(code), shapes] as const)),
)

/** Returns the fourcc of a format from its four characters. */
export function fourccOf(code: string): number {
  return code.split('').reduce((word, letter, i) => word | (letter.charCodeAt(0) << (8 * i)), 0)
}

/** Returns the four characters of a fourcc; in hexadecimal if they are not printable. */
export function fourccName(fourcc: number): string {
  const name = String.fromCharCode(...[0, 8, 16, 24].map((shift) => (fourcc >>> shift) & 0xff))
  return /^[ -~]{4}$/.test(name) ? name.trimEnd() : `0x${(fourcc >>> 0).toString(16).padStart(8, '0')}`
}

/** Returns the planes of a format; undefined if the format is unknown. */
export function planesOf(fourcc: number): readonly PlaneShape[] | undefined {
  return SHAPES.get(fourcc)
}

/** Returns the bytes of one row of a plane. */
export function planeRowBytes({ bytes, across }: PlaneShape, width: number): number {
  return Math.ceil(width / across) * bytes
}

/** Returns the number of rows of a plane. */
export function planeRows({ down }: PlaneShape, height: number): number {
  return Math.ceil(height / down)
}

/**
 * True if a framebuffer fits in `size` bytes. With the linear modifier every row of every plane is checked, so readers
 * stay within the buffer. With other modifiers only the offsets are checked, because the sizes of the planes are
 * unknown.
 */
export function liesWithin({ width, height, fourcc, modifier, planes }: FramebufferLayout, size: number): boolean {
  if (!(width > 0 && height > 0 && planes.length > 0 && planes.length <= 4)) return false
  if (modifier !== MODIFIER_LINEAR) return planes.every(({ offset }) => offset < size)
  const shapes = planesOf(fourcc)
  if (shapes?.length !== planes.length) return false
  return shapes.every((shape, i) => {
    const { offset, stride } = planes[i]
    const row = planeRowBytes(shape, width)
    return stride >= row && offset + (planeRows(shape, height) - 1) * stride + row <= size
  })
}
