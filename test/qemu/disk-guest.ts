import { bootPortGuest, type PortGuest } from './port-guest.ts'

/** A guest of whose devices only the disk is ours. */
export type DiskGuest = PortGuest

export interface DiskGuestOptions {
  /** Where the disk is served. When nobody serves it any more QEMU calls again, until somebody does. */
  readonly socket: string
  /** For the sockets of its ports; none is there yet. */
  readonly folder: string
  /** A file for a second disk, which QEMU serves, to be read only. */
  readonly data?: string
  /** Of the disk, 1 unless told; the guest uses as many as it has processors. */
  readonly queues?: number
  /** Whether the disk's rings are packed ones. */
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
