import { Option } from 'commander'
import { DISK_FORMATS, type DiskFormat, formatByContent } from '../../backends/disk/image-format.ts'
import type { ImageServer, ImageServerOptions } from '../../backends/disk/nbd/image-server.ts'
import { DiskFile } from '../../backends/disk/reactor/disk-file.ts'
import { ReactorDisk } from '../../backends/disk/reactor/reactor-disk.ts'
import { BlockDevice, type LogicalBlockSize } from '../../devices/virtio/block/block.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import { UsageError } from '../exit-code.ts'
import { parseLogicalBlockSize, wholeNumber } from '../run/run-options.ts'
import type { BackEnd } from './back-end.ts'
import { LogLevel } from './log.ts'

/** A ring's number has 8 bits. */
const MAX_QUEUES = 256

interface BlockOptions {
  readonly blkFile?: string
  readonly format?: DiskFormat
  readonly readOnly?: boolean
  readonly direct?: boolean
  readonly logicalBlockSize?: LogicalBlockSize
  readonly serial?: string
  readonly queues: number
  readonly workers: number
}

export const blockBackEnd: BackEnd<BlockOptions> = {
  name: 'block',
  summary: 'a disk in a file or on a block device',
  type: 'block',
  features: ['blk-file', 'read-only'],
  options: [
    new Option('--blk-file <path>', 'the image file or block device'),
    new Option('--format <name>', 'how it is read, by QEMU where not raw (default: raw)').choices(DISK_FORMATS),
    new Option('--read-only', 'the guest cannot write to it'),
    new Option('--direct', 'past the page cache (O_DIRECT), for requests that are aligned as the file needs it'),
    new Option(
      '--logical-block-size <bytes>',
      'in which the guest addresses the disk: 512 or 4096 (default: 512)',
    ).argParser(parseLogicalBlockSize),
    new Option('--serial <text>', 'its serial number in the guest, up to 20 characters'),
    new Option('--queues <number>', 'request queues').argParser(wholeNumber(1, MAX_QUEUES)).default(1),
    new Option('--workers <number>', 'threads that serve them: queue Q is served by thread Q modulo their number')
      .argParser(wholeNumber(1, MAX_QUEUES))
      .default(1),
  ],
  async make(options, host) {
    const { blkFile, format, readOnly = false, direct = false, logicalBlockSize, serial, queues, workers } = options
    const { log, reactor } = host
    if (blkFile === undefined) throw new UsageError('name the disk: --blk-file FILE')
    if (workers > queues) throw new UsageError(`--workers must not exceed --queues (${workers} > ${queues})`)
    const warn = (line: string): void => log(LogLevel.WARNING, line)
    const settings = { queues, logicalBlockSize, ...(serial !== undefined && { serial }) }
    if (format !== undefined && format !== 'raw') {
      if (workers > 1) throw new UsageError('--workers needs --format=raw')
      const server = await startImageServer({ path: blkFile, format, readOnly, direct, log: warn }, reactor)
      return {
        device: new BlockDevice(server.disk, settings),
        refresh: () => warn(`${blkFile}: the size of an image that is not raw changes when it is opened again`),
        close: () => server.close(),
      }
    }
    if (format === undefined) warnOfFormat(blkFile, warn)
    const file = DiskFile.open(blkFile, { readOnly, direct, log: warn })
    if (workers > 1) {
      const { serveInThreads } = await import('./block-groups.ts')
      return await serveInThreads(file, workers, settings, host)
    }
    const disk = new ReactorDisk(file.shared, reactor, warn)
    const device = new BlockDevice(disk, settings)
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

/** Loads what other formats need only where they are wanted: a device is to be ready soon. */
async function startImageServer(options: Omit<ImageServerOptions, 'program'>, reactor: Reactor): Promise<ImageServer> {
  const { findNbdServer } = await import('../../engines/qemu/qemu.ts')
  const { ImageServer } = await import('../../backends/disk/nbd/image-server.ts')
  const program = await findNbdServer()
  if (!program) {
    throw new UsageError(`${options.path}: it takes qemu-nbd to read ${options.format}: apt-get install qemu-utils`)
  }
  return await ImageServer.start({ ...options, program }, reactor)
}

/** A raw disk may have any content, but mostly the option --format was forgotten. */
function warnOfFormat(path: string, warn: (line: string) => void): void {
  const format = formatByContent(path)
  if (format)
    warn(`${path} begins like an image of format ${format} and is served as raw bytes: --format ${format} if it is one`)
}
