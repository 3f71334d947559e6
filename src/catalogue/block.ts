import { FileDisk } from '../backends/disk/file-disk.ts'
import { DISK_FORMATS, formatByContent } from '../backends/disk/image-format.ts'
import type { ImageServer, ImageServerOptions } from '../backends/disk/nbd/image-server.ts'
import { DiskFile } from '../backends/disk/reactor/disk-file.ts'
import { ReactorDisk } from '../backends/disk/reactor/reactor-disk.ts'
import { BlockDevice, LOGICAL_BLOCK_SIZES, type LogicalBlockSize } from '../devices/virtio/block/block.ts'
import type { Reactor } from '../host/linux/reactor/reactor.ts'
import { LogLevel } from '../log/device-log.ts'
import { UsageError } from '../services/usage-error.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { deviceKind } from './device-kind.ts'
import { choice, flag, integer, parsed, text, withDefault } from './options.ts'

/** A ring's number has 8 bits. */
const MAX_QUEUES = 256

const OPTIONS = {
  blkFile: text('path', 'image file or block device'),
  format: choice(DISK_FORMATS, 'format of the image; QEMU reads all but raw (default: raw)'),
  readOnly: flag('refuse writes of the guest'),
  direct: flag('bypass the page cache (O_DIRECT) for requests that are aligned as the file needs'),
  logicalBlockSize: parsed(
    'bytes',
    'unit in which the guest addresses the disk: 512 or 4096 (default: 512)',
    parseLogicalBlockSize,
  ),
  serial: text('text', 'serial number in the guest, up to 20 characters'),
  queues: withDefault(parsed('number', 'request queues', integer(1, MAX_QUEUES)), 1),
  workers: withDefault(
    parsed(
      'number',
      'threads that serve them: thread N serves the queues Q with Q mod threads = N',
      integer(1, MAX_QUEUES),
    ),
    1,
  ),
}

/** What `open` leaves: an image file, or the server of an image of another format. */
type OpenDisk =
  | { readonly kind: 'file'; readonly file: DiskFile }
  | { readonly kind: 'plain'; readonly disk: FileDisk }
  | { readonly kind: 'image'; readonly server: ImageServer }

export const blockKind = deviceKind({
  name: 'block',
  id: DeviceId.BLOCK,
  summary: 'a disk in a file or on a block device',
  options: OPTIONS,
  examples: `\
  outboard device block --socket-path=disk.sock --blk-file=disk.img
  outboard device block --socket-path=disk.sock --blk-file=disk.qcow2 --format=qcow2 --read-only
  outboard device block --socket-path=disk.sock --blk-file=/dev/vg/guest --direct --queues=4 --workers=2`,
  async open(options, { reactor, log }): Promise<OpenDisk> {
    const { blkFile: path, format, readOnly, direct, queues, workers } = options
    if (path === undefined) throw new UsageError('name the disk: --blk-file FILE')
    if (workers > queues) throw new UsageError(`--workers must not exceed --queues (${workers} > ${queues})`)
    const warn = (line: string): void => log(LogLevel.WARNING, line)
    if (!reactor) {
      if ((format ?? 'raw') !== 'raw' || direct || workers > 1) {
        throw new UsageError(`${path}: --format, --direct and --workers need a device process: --engine qemu`)
      }
      return { kind: 'plain', disk: FileDisk.open(path, { readOnly, log: warn }) }
    }
    if (format !== undefined && format !== 'raw') {
      if (workers > 1) throw new UsageError('--workers needs --format=raw')
      return { kind: 'image', server: await startImageServer({ path, format, readOnly, direct, log: warn }, reactor) }
    }
    if (format === undefined) warnOfFormat(path, warn)
    return { kind: 'file', file: DiskFile.open(path, { readOnly, direct, log: warn }) }
  },
  async build(opened, options, host) {
    const { blkFile: path, logicalBlockSize, serial, queues, workers } = options
    const { log, reactor } = host
    const warn = (line: string): void => log(LogLevel.WARNING, line)
    const settings = { queues, logicalBlockSize, ...(serial !== undefined && { serial }) }
    if (opened.kind === 'plain') {
      const { disk } = opened
      return {
        device: new BlockDevice(disk, settings),
        save: () => disk.identity(),
        restore: (state) => disk.expect(state, host.acceptsChanges ?? false),
      }
    }
    if (opened.kind === 'image') {
      return {
        device: new BlockDevice(opened.server.disk, settings),
        refresh: () => warn(`${path}: the size of an image that is not raw changes when it is opened again`),
      }
    }
    const { file } = opened
    if (workers > 1 || !reactor) {
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
      close: () => disk.close(),
    }
  },
  close(opened) {
    if (opened.kind === 'image') return opened.server.close()
    return opened.kind === 'plain' ? opened.disk.close() : opened.file.close()
  },
  vhostUser: { type: 'block', features: ['blk-file', 'read-only'] },
  // Firmware drives a transitional function as virtio 0.9.5, even if it knows virtio 1.
  qemu: { driver: 'vhost-user-blk-pci', properties: ['disable-legacy=on'], bootOrder: 1 },
  guestModules: ['virtio_blk', 'ext4', 'crc32c_generic'],
})

/** Bytes in which a guest addresses a disk. */
export function parseLogicalBlockSize(value: string): LogicalBlockSize {
  const size = LOGICAL_BLOCK_SIZES.find((known) => value === `${known}`)
  if (size === undefined) throw new UsageError(`A logical block size is ${LOGICAL_BLOCK_SIZES.join(' or ')}.`)
  return size
}

/** Loads the code for other formats only if it is needed: a device process must be ready soon. */
async function startImageServer(options: Omit<ImageServerOptions, 'program'>, reactor: Reactor): Promise<ImageServer> {
  const { findNbdServer } = await import('../guest-image/debian/nbd-server.ts')
  const { ImageServer } = await import('../backends/disk/nbd/image-server.ts')
  const program = await findNbdServer()
  if (!program) {
    throw new UsageError(`${options.path}: format ${options.format} needs qemu-nbd: apt-get install qemu-utils`)
  }
  return await ImageServer.start({ ...options, program }, reactor)
}

/** A raw disk may have any content, but mostly the option --format was forgotten. */
function warnOfFormat(path: string, warn: (line: string) => void): void {
  const format = formatByContent(path)
  if (format)
    warn(`${path} begins like an image of format ${format} and is served as raw bytes: --format ${format} if it is one`)
}
