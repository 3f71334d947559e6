import { findQemus, type Qemu } from '../../src/engines/qemu/qemu.ts'
import { type GuestImage, GuestImageError, prepareGuestImage } from '../../src/guest-image/guest-image.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { UDMABUF_IMAGE } from './udmabuf-image.ts'

/** Requirements of a guest with udmabuf. */
export interface Means {
  /** The newest QEMU found. */
  readonly qemu: Qemu
  readonly image: GuestImage
}

/**
 * Finds QEMU and prepares the image.
 * @param devices further devices that QEMU must have
 * @returns why the guest cannot run, if so
 */
export async function findMeans(devices: readonly string[] = []): Promise<Means | string> {
  const needed = ['virtio-9p-pci', 'virtio-gpu-pci', 'virtserialport', ...devices]
  if (process.arch !== 'x64') return 'the guest needs a Node for x64'
  const missing = ffiMissing()
  if (missing !== undefined) return missing
  const qemu = (await findQemus()).findLast((found) => needed.every((device) => found.devices.has(device)))
  if (!qemu) return `there is no QEMU with ${needed.join(', ')}; apt downloads one: apt-get install apt`
  try {
    return { qemu, image: await prepareGuestImage(UDMABUF_IMAGE) }
  } catch (error) {
    if (error instanceof GuestImageError) return error.message
    throw error
  }
}
