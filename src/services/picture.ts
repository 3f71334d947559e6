/** What bytes are as a picture: all that somebody who imports them has to know besides. */
export interface FramebufferLayout {
  readonly width: number
  readonly height: number
  /** `DRM_FORMAT_*`, drm_fourcc.h */
  readonly fourcc: number
  /** `DRM_FORMAT_MOD_*`: how the pixels of each plane are arranged. */
  readonly modifier: bigint
  /** One to four. */
  readonly planes: readonly PlaneLayout[]
}

export interface PlaneLayout {
  /** Its first byte, in the buffer. */
  readonly offset: number
  /** Bytes from one row to the next. */
  readonly stride: number
}

export function sameLayout(a: FramebufferLayout, b: FramebufferLayout): boolean {
  return (
    a.width === b.width &&
    a.height === b.height &&
    a.fourcc === b.fourcc &&
    a.modifier === b.modifier &&
    a.planes.length === b.planes.length &&
    a.planes.every(({ offset, stride }, i) => offset === b.planes[i].offset && stride === b.planes[i].stride)
  )
}
