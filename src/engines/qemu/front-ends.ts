import type { QemuFrontEnd } from '../../catalogue/device-kind.ts'
import { loadKinds } from '../../catalogue/index.ts'
import type { DeviceTransport } from '../../device-process/socket.ts'

/** Front-end for any vhost-user device, which is named by its number. QEMU has it since 11.1. */
export const GENERIC_FRONT_END = 'vhost-user-test-device-pci'

/** Front-end for any PCI function over vfio-user. QEMU may be built with it since 10.1. */
export const VFIO_USER = 'vfio-user-pci'

/** Name of the device of QEMU that a vhost-user device is connected to. */
export function frontEndDriver(frontEnd: QemuFrontEnd): string {
  return 'driver' in frontEnd ? frontEnd.driver : GENERIC_FRONT_END
}

/** Devices of QEMU that a machine needs, whatever devices of ours it has. */
export async function neededFrontEnds(transport: DeviceTransport): Promise<string[]> {
  if (transport === 'vfio-user') return [VFIO_USER]
  return [...new Set((await loadKinds()).map(({ qemu }) => frontEndDriver(qemu)))]
}

/** All devices of QEMU that ours can be connected to. */
export async function knownFrontEnds(): Promise<string[]> {
  const names = (await loadKinds()).flatMap(({ qemu }) => [frontEndDriver(qemu), ...(qemu.alternatives ?? [])])
  return [...new Set([...names, VFIO_USER])]
}
