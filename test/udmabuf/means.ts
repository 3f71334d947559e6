import { findQemus, type Qemu } from '../../src/engines/qemu/qemu.ts'
import { type GuestKit, KitError, prepareKit } from '../../src/guest-image/kit.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { UDMABUF_KIT } from './kit.ts'

/** What a guest with the driver needs of this machine. */
export interface Means {
  /** The newest there is. */
  readonly qemu: Qemu
  readonly kit: GuestKit
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
    return { qemu, kit: await prepareKit(UDMABUF_KIT) }
  } catch (error) {
    if (error instanceof KitError) return error.message
    throw error
  }
}
