import { DeviceId } from '../../virtio/device-id.ts'

/** Returns the PCI class, sub-class and programming interface of a device type, for firmware and `lspci`. @pci D */
export function classCode(id: DeviceId): number {
  return CLASS_CODES[id]
}

const UNCLASSIFIED = 0xff0000

const CLASS_CODES: Readonly<Record<DeviceId, number>> = {
  [DeviceId.NETWORK]: 0x020000,
  [DeviceId.BLOCK]: 0x010000,
  [DeviceId.CONSOLE]: 0x078000,
  [DeviceId.ENTROPY]: UNCLASSIFIED,
  [DeviceId.BALLOON]: UNCLASSIFIED,
  [DeviceId.SCSI_HOST]: 0x010000,
  [DeviceId.GPU]: 0x038000,
  [DeviceId.INPUT]: 0x098000,
  [DeviceId.VSOCK]: 0x078000,
  [DeviceId.CRYPTO]: 0x108000,
  [DeviceId.IOMMU]: UNCLASSIFIED,
  [DeviceId.SOUND]: 0x040100,
  [DeviceId.FS]: 0x018000,
  [DeviceId.PMEM]: 0x058000,
}
