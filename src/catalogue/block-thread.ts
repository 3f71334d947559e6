/** Thread that serves some queues of a disk. */
import { workerData } from 'node:worker_threads'
import type { SharedDiskFile } from '../backends/disk/reactor/disk-file.ts'
import { ReactorDisk } from '../backends/disk/reactor/reactor-disk.ts'
import { BlockDevice, type BlockDeviceOptions } from '../devices/virtio/block/block.ts'
import { runGroupThread } from '../transport/vhost-user/queue-groups/group-thread.ts'

export interface BlockThreadData {
  readonly file: SharedDiskFile
  readonly settings: BlockDeviceOptions
}

const { file, settings }: BlockThreadData = workerData

await runGroupThread(({ reactor, warn }) => {
  const disk = new ReactorDisk(file, reactor, warn)
  const device = new BlockDevice(disk, settings)
  return { device, refresh: () => device.resize(), close: () => disk.close() }
})
