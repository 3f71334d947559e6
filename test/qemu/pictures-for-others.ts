import { fourccOf } from '../../src/devices/virtio/gpu/pixels/image-planes.ts'
import type { FramebufferLayout } from '../../src/services/framebuffer-layout.ts'

/** Returns a picture for a buffer of a size. */
export interface PictureForOthers extends FramebufferLayout {
  readonly size: number
}

/** Pictures that a program of the guest draws for programs of the host. */
export const PICTURES = {
  nv12: {
    width: 322,
    height: 180,
    fourcc: fourccOf('NV12'),
    modifier: 0n,
    // Layout of the device: rows at multiples of 256 bytes.
    planes: [
      { offset: 0, stride: 512 },
      { offset: 512 * 180, stride: 512 },
    ],
    size: 139_264,
  },
  tiled: {
    width: 128,
    height: 64,
    fourcc: fourccOf('AR24'),
    // AMD GFX10: AMD_FMT_MOD with a swizzle of 64 KiB, and compression, which has a plane of its own.
    modifier: 0x0200_0000_0000_3b02n,
    planes: [
      { offset: 0, stride: 512 },
      { offset: 32_768, stride: 64 },
    ],
    size: 40_960,
  },
} as const satisfies Record<string, PictureForOthers>

/** Fills all bytes of a buffer by their positions. */
export function paint(bytes: Uint8Array, { width, size }: PictureForOthers): void {
  for (let i = 0; i < size; i++) bytes[i] = (i * 7 + (i >> 8) * 13 + width) & 0xff
}
