import { AMD64_IMAGE, type Recipe } from '../../src/guest-image/recipe.ts'

/**
 * The image for QEMU with drivers that only tests want: this machine's files inside the guest, and two graphics drivers that
 * import buffers. The driver of /dev/udmabuf is part of the kernel.
 */
export const UDMABUF_IMAGE: Recipe<never> = {
  ...AMD64_IMAGE,
  modules: ['9p', '9pnet_virtio', 'vgem', 'virtio_gpu'],
}
