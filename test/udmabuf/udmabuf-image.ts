import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import type { Recipe } from '../../src/guest-image/recipe.ts'

/**
 * The guest image for QEMU with further modules: 9p for this machine's files, and two graphics drivers that import
 * buffers. The kernel contains udmabuf.
 */
export const UDMABUF_IMAGE: Recipe<never> = {
  ...AMD64_IMAGE,
  modules: ['9p', '9pnet_virtio', 'vgem', 'virtio_gpu'],
}
