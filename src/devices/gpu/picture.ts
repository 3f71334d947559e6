/** What bytes are as a picture: all that somebody who imports them has to know besides. */
export interface Picture {
  readonly width: number
  readonly height: number
  /** `DRM_FORMAT_*`, drm_fourcc.h */
  readonly fourcc: number
  /** `DRM_FORMAT_MOD_*`: how the pixels of each plane are arranged. */
  readonly modifier: bigint
  /** One to four. */
  readonly planes: readonly PicturePlane[]
}

export interface PicturePlane {
  /** Its first byte, in the buffer. */
  readonly offset: number
  /** Bytes from one row to the next. */
  readonly stride: number
}
