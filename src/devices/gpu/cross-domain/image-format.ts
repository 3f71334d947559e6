/** One plane of a picture: how many bytes a sample has, and how many pixels share one each way. */
interface Plane {
  readonly bytes: number
  readonly across: number
  readonly down: number
}

/** Rows begin at multiples of this many bytes, as GPUs of all makes want it of linear pictures. */
const STRIDE_ALIGNMENT = 256

const packed = (bytes: number): readonly Plane[] => [{ bytes, across: 1, down: 1 }]
/** Brightness in full, and both colours in one plane of half the size each way. */
const twoPlanes = (bytes: number): readonly Plane[] => [
  { bytes, across: 1, down: 1 },
  { bytes: 2 * bytes, across: 2, down: 2 },
]
const threePlanes: readonly Plane[] = [
  { bytes: 1, across: 1, down: 1 },
  { bytes: 1, across: 2, down: 2 },
  { bytes: 1, across: 2, down: 2 },
]

/** `DRM_FORMAT_*` by their four characters; drm_fourcc.h */
const FORMATS: Readonly<Record<string, readonly Plane[]>> = {
  'R8  ': packed(1),
  GR88: packed(2),
  RG16: packed(2),
  BG24: packed(3),
  XR24: packed(4),
  AR24: packed(4),
  XB24: packed(4),
  AB24: packed(4),
  XR30: packed(4),
  AR30: packed(4),
  XB30: packed(4),
  AB30: packed(4),
  AB4H: packed(8),
  NV12: twoPlanes(1),
  P010: twoPlanes(2),
  YV12: threePlanes,
}

/** How a picture lies in a buffer. */
export interface ImagePlanes {
  readonly strides: readonly number[]
  readonly offsets: readonly number[]
  /** Bytes, up to the end of the last plane. */
  readonly size: number
}

/** Lays a picture out: plane after plane, row after row. @returns undefined where the format is none of ours */
export function layOutImage(width: number, height: number, fourcc: number): ImagePlanes | undefined {
  const planes = FORMATS[String.fromCharCode(...[0, 8, 16, 24].map((shift) => (fourcc >>> shift) & 0xff))]
  if (!planes) return undefined
  const strides: number[] = []
  const offsets: number[] = []
  let size = 0
  for (const { bytes, across, down } of planes) {
    const stride = Math.ceil((Math.ceil(width / across) * bytes) / STRIDE_ALIGNMENT) * STRIDE_ALIGNMENT
    strides.push(stride)
    offsets.push(size)
    size += stride * Math.ceil(height / down)
  }
  return { strides, offsets, size }
}
