/** Device types. @virtio 5 */
export const DeviceId = {
  NETWORK: 1,
  BLOCK: 2,
  CONSOLE: 3,
  ENTROPY: 4,
  BALLOON: 5,
  SCSI_HOST: 8,
  GPU: 16,
  INPUT: 18,
  VSOCK: 19,
  CRYPTO: 20,
  IOMMU: 23,
  SOUND: 25,
  FS: 26,
  PMEM: 27,
} as const
export type DeviceId = (typeof DeviceId)[keyof typeof DeviceId]
