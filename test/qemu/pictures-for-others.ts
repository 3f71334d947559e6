import { fourccOf } from '../../src/devices/virtio/gpu/pixels/image-planes.ts'
import type { FramebufferLayout } from '../../src/services/framebuffer-layout.ts'

/** A picture of a buffer with so many bytes. */
export interface PictureForOthers extends FramebufferLayout {
  readonly size: number
}

/** What a program of the guest draws for programs of the host. */
export const PICTURES = {
  nv12: {
    width: 322,
    height: 180,
    fourcc: fourccOf('NV12'),
    modifier: 0n,
    // As the device lays it out: rows at multiples of 256 bytes.
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
    // AMD's, of GFX10: AMD_FMT_MOD with a swizzle of 64 KiB, and compression, which has a plane of its own.
    modifier: 0x0200_0000_0000_3b02n,
    planes: [
      { offset: 0, stride: 512 },
      { offset: 32_768, stride: 64 },
    ],
    size: 40_960,
  },
} as const satisfies Record<string, PictureForOthers>

/** Fills all bytes of a buffer, so that each tells of its place. */
export function paint(bytes: Uint8Array, { width, size }: PictureForOthers): void {
  for (let i = 0; i < size; i++) bytes[i] = (i * 7 + (i >> 8) * 13 + width) & 0xff
}
