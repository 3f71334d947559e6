import { Option } from 'commander'
import { BlockDevice } from '../devices/block/block.ts'
import { DiskFile } from '../host/linux/disk/disk-file.ts'
import { ReactorDisk } from '../host/linux/disk/reactor-disk.ts'
import type { BackEnd } from './device-back-end.ts'
import { LogLevel } from './device-log.ts'
import { UsageError } from './exit-code.ts'

interface BlockOptions {
  readonly blkFile?: string
  readonly readOnly?: boolean
  readonly direct?: boolean
  readonly serial?: string
}

export const blockBackEnd: BackEnd<BlockOptions> = {
  name: 'block',
  summary: 'a disk in a file or on a block device',
  type: 'block',
  features: ['blk-file', 'read-only'],
  options: [
    new Option('--blk-file <path>', 'the raw image file or block device'),
    new Option('--read-only', 'the guest cannot write to it'),
    new Option('--direct', 'past the page cache (O_DIRECT)'),
    new Option('--serial <text>', 'its serial number in the guest, up to 20 characters'),
  ],
  make({ blkFile, readOnly = false, direct = false, serial }, { log, reactor }) {
    if (blkFile === undefined) throw new UsageError('name the disk: --blk-file FILE')
    const warn = (line: string): void => log(LogLevel.WARNING, line)
    const file = DiskFile.open(blkFile, { readOnly, direct, log: warn })
    const disk = new ReactorDisk(file.shared, reactor, warn)
    const device = new BlockDevice(disk, { ...(serial !== undefined && { serial }) })
    return {
      device,
      refresh() {
        if (file.refreshSize()) device.resize()
      },
      close() {
        try {
          disk.close()
        } finally {
          file.close()
        }
      },
    }
  },
}
