import { VFIO_USER } from '../../src/engines/qemu/front-ends.ts'
import { type GuestImage, GuestImageError, prepareGuestImage } from '../../src/guest-image/guest-image.ts'
import type { Recipe } from '../../src/guest-image/recipe.ts'
import { qemu, qemuMissing } from './guest.ts'
import type { PortGuest } from './port-guest.ts'

const NEEDED = [VFIO_USER, 'virtio-9p-pci']

/** QEMU's arguments for a guest with read-only access to all files of this host. */
export const MACHINE_FILES = [
  ...['-fsdev', 'local,id=files,path=/,security_model=none,readonly=on,multidevs=remap'],
  ...['-device', 'virtio-9p-pci,fsdev=files,mount_tag=root'],
]

/** @returns the image of a guest that runs this host's Node, or the reason why there is none */
export async function findImageForPrograms(recipe: Recipe<never>): Promise<GuestImage | string> {
  const missing = qemuMissing ?? NEEDED.find((name) => !qemu().devices.has(name))
  if (missing !== undefined) return missing
  if (process.arch !== 'x64') return 'this machine’s Node is none for the guest'
  try {
    return await prepareGuestImage(recipe)
  } catch (error) {
    if (error instanceof GuestImageError) return error.message
    throw error
  }
}

/** Mounts them in `/mnt` of the guest, and loads drivers. */
export async function mountMachineFiles(guest: PortGuest, drivers: readonly string[]): Promise<void> {
  await guest.run(`modprobe -a 9pnet_virtio 9p ${drivers.join(' ')}; mkdir -p /mnt`)
  await guest.run('mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /mnt')
  await guest.run('for folder in dev proc sys; do mount -o rbind /$folder /mnt/$folder; done')
}
