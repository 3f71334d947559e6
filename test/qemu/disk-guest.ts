import { bootPortGuest, type PortGuest } from './port-guest.ts'

/** Options of a guest whose disk is our device, and whose other devices are QEMU's. */
export type DiskGuest = PortGuest

export interface DiskGuestOptions {
  /** Socket of the disk. QEMU reconnects when the server closes the connection. */
  readonly socket: string
  /** Empty folder for the sockets of its ports. */
  readonly folder: string
  /** File of a second, read-only disk, which QEMU serves. */
  readonly data?: string
  /** Queues of the disk; the guest uses one per processor. @default 1 */
  readonly queues?: number
  /** True if the disk's rings are packed. */
  readonly packed?: boolean
}

const RECONNECT_MS = 20

/** Boots a guest in QEMU, with a disk at a socket. */
export async function bootDiskGuest(options: DiskGuestOptions): Promise<DiskGuest> {
  const { socket, folder, data, queues = 1, packed = false } = options
  return await bootPortGuest({
    folder,
    arguments: [
      ...['-chardev', `socket,id=disk,path=${socket},reconnect-ms=${RECONNECT_MS}`],
      ...['-device', `vhost-user-blk-pci,chardev=disk,num-queues=${queues},packed=${packed ? 'on' : 'off'}`],
      ...['-smp', `${queues}`],
      ...(data === undefined
        ? []
        : ['-drive', `if=none,id=data,format=raw,readonly=on,file=${data}`, '-device', 'virtio-blk-pci,drive=data']),
    ],
  })
}
