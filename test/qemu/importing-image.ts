import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import type { Recipe } from '../../src/guest-image/recipe.ts'

/**
 * The image for QEMU with a kernel whose driver of this GPU imports the buffers of others, as Linux does from 6.14 on;
 * with this machine's files inside the guest, and a driver that stands for another GPU.
 */
export const IMPORTING_IMAGE: Recipe<never> = {
  ...AMD64_IMAGE,
  suite: 'sid',
  modules: ['9p', '9pnet_virtio', 'vgem', 'virtio_gpu'],
}
