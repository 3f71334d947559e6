import { findQemus, type Qemu } from '../../src/engines/qemu/qemu.ts'
import { type GuestImage, GuestImageError, prepareGuestImage } from '../../src/guest-image/guest-image.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { UDMABUF_IMAGE } from './udmabuf-image.ts'

/** What a guest with the driver needs of this machine. */
export interface Means {
  /** The newest there is. */
  readonly qemu: Qemu
  readonly image: GuestImage
}

/** @param devices that QEMU has to have, besides. @returns why there is no such guest here, where there is none */
export async function findMeans(devices: readonly string[] = []): Promise<Means | string> {
  const needed = ['virtio-9p-pci', 'virtio-gpu-pci', 'virtserialport', ...devices]
  if (process.arch !== 'x64') return 'this machine’s Node is none for the guest'
  const missing = ffiMissing()
  if (missing !== undefined) return missing
  const qemu = (await findQemus()).findLast((found) => needed.every((device) => found.devices.has(device)))
  if (!qemu) return `there is no QEMU with ${needed.join(', ')}; apt fetches one: apt-get install apt`
  try {
    return { qemu, image: await prepareGuestImage(UDMABUF_IMAGE) }
  } catch (error) {
    if (error instanceof GuestImageError) return error.message
    throw error
  }
}
