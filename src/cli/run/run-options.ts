import { InvalidArgumentError } from 'commander'
import { DISK_FORMATS, type DiskFormat, formatByName } from '../../backends/disk/image-format.ts'
import { parseLogicalBlockSize } from '../../catalogue/block.ts'
import { type AddedDevice, parseAddedDevice } from '../../catalogue/machine-device.ts'
import type { DeviceTransport } from '../../device-process/socket.ts'
import type { LogicalBlockSize } from '../../devices/virtio/block/block.ts'
import type { GuestNetwork } from '../../engines/qemu/guest-network.ts'
import { isMirror } from '../../guest-image/debian/apt.ts'
import { invalidIfUsage } from '../arguments.ts'

/** Checked options of `outboard run`. */
export interface RunOptions {
  readonly engine: 'v86' | 'qemu'
  /** Protocol between QEMU and its devices. @default vhost-user */
  readonly transport?: DeviceTransport
  /** Memory of the guest in MiB. @default that of the engine */
  readonly memory?: number
  readonly disk: readonly DiskOption[]
  readonly device: readonly AddedDevice[]
  /** URLs of modules with more kinds of devices. */
  readonly plugins: readonly string[]
  readonly boot: 'kernel' | 'disk'
  /** `bios`, `uefi`, or a file. */
  readonly firmware?: string
  readonly kernel?: string
  readonly initrd?: string
  readonly append?: string
  readonly display?: 'web' | 'none'
  readonly port?: number
  readonly screenshot?: string
  /** File that the machine is saved in at the end. */
  readonly save?: string
  /** File of a saved machine. */
  readonly restore?: string
  readonly changedDisks?: boolean
  /** URL of the Debian mirror. */
  readonly mirror?: string
  readonly exec?: string
  readonly timeout?: number
  /** @default passt, if it is installed */
  readonly net?: NetOption
}

export type NetOption = GuestNetwork | { readonly kind: 'none' }

export interface DiskOption {
  readonly path: string
  readonly readOnly: boolean
  /** Given format, or that of the file name. @default raw */
  readonly format?: DiskFormat
  /** @default 512 */
  readonly logicalBlockSize?: LogicalBlockSize
}

/**
 * Parses `FILE[,readonly][,format=FORMAT][,logical-block-size=BYTES]`. Any other text after a comma belongs to the file
 * name. Options are collected in their order: /dev/vda, /dev/vdb ...
 */
export function parseDisk(value: string, before: readonly DiskOption[]): DiskOption[] {
  let path = value
  let readOnly = false
  let format: DiskFormat | undefined
  let logicalBlockSize: LogicalBlockSize | undefined
  for (;;) {
    const [, rest = '', name, argument = ''] =
      /^(.*),(readonly|ro|format=|logical-block-size=)((?<==)[^,]*)?$/s.exec(path) ?? []
    if (name === undefined) break
    path = rest
    if (name === 'format=') format = DISK_FORMATS.find((known) => argument === known) ?? unknownFormat()
    else if (name === 'logical-block-size=') logicalBlockSize = invalidIfUsage(() => parseLogicalBlockSize(argument))
    else readOnly = true
  }
  if (path === '') throw new InvalidArgumentError('Give the name of a file: --disk FILE[,readonly][,format=FORMAT].')
  format ??= formatByName(path)
  return [...before, { path, readOnly, ...(format && { format }), ...(logicalBlockSize && { logicalBlockSize }) }]
}

/** Parses `KIND[,OPTION[=VALUE]]...`. Options are collected in their order. */
export function parseDevice(value: string, before: readonly AddedDevice[]): AddedDevice[] {
  return [...before, invalidIfUsage(() => parseAddedDevice(value))]
}

function unknownFormat(): never {
  throw new InvalidArgumentError(`A format is one of ${DISK_FORMATS.join(', ')}.`)
}

/** Parses `none`, `passt`, `passt:OPTIONS` or `tap:NAME`. */
export function parseNet(value: string): NetOption {
  const [, kind, rest] = /^(none|passt|tap)(?::(.+))?$/.exec(value) ?? []
  if (kind === 'tap' && rest !== undefined) return { kind, name: rest }
  if (kind === 'passt') return { kind, ...(rest !== undefined && { options: rest }) }
  if (kind === 'none' && rest === undefined) return { kind }
  throw new InvalidArgumentError('Give none, passt, passt:OPTIONS or tap:NAME.')
}

/** Parses the URL of a Debian mirror. */
export function parseMirror(value: string): string {
  if (!isMirror(value)) throw new InvalidArgumentError('Give the URL of a Debian mirror.')
  return value
}

/** Parses seconds, possibly with a fraction. */
export function parseSeconds(value: string): number {
  const seconds = Number(value)
  if (!/^\d*\.?\d+$/.test(value) || seconds <= 0 || seconds > 2_000_000) {
    throw new InvalidArgumentError('Give a number of seconds above 0.')
  }
  return seconds
}
