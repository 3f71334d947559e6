/** Framebuffer layout: everything that an importer of a buffer must know to read its bytes as pixels. */
export interface FramebufferLayout {
  readonly width: number
  readonly height: number
  /** `DRM_FORMAT_*`, drm_fourcc.h */
  readonly fourcc: number
  /** `DRM_FORMAT_MOD_*`: arrangement of the pixels in each plane. */
  readonly modifier: bigint
  /** Planes in the order of the format, 1 to 4. */
  readonly planes: readonly PlaneLayout[]
}

export interface PlaneLayout {
  /** Position of the plane's first byte in the buffer. */
  readonly offset: number
  /** Bytes between the starts of two rows. */
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
