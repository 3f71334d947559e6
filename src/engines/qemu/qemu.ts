import { ToolError } from '../../guest-image/debian/tool.ts'
import { type Program, runProgram, systemProgram } from './program.ts'
import { QemuError } from './qemu-error.ts'
import { findUnpackedQemu, type PrepareOptions, unpackQemu } from './unpacked-qemu.ts'

/** QEMU's device drivers by which our devices reach a guest. */
export const QemuDeviceDriver = {
  BLOCK: 'vhost-user-blk-pci',
  ENTROPY: 'vhost-user-rng-pci',
  INPUT: 'vhost-user-input-pci',
  GPU: 'vhost-user-gpu-pci',
  /** Network card with our back-end as its peer. */
  NET: 'virtio-net-pci',
  /** Any device, selected by its virtio id. Requires QEMU 11.1. */
  ANY: 'vhost-user-test-device-pci',
} as const

/** Any PCI function over vfio-user. Requires QEMU 10.1, built with it. */
export const VFIO_USER = 'vfio-user-pci'

/**
 * Protocols between our devices and QEMU: vhost-user behind QEMU's PCI functions, or whole PCI functions by vfio-user.
 */
export const DEVICE_TRANSPORTS = ['vhost-user', 'vfio-user'] as const
export type DeviceTransport = (typeof DEVICE_TRANSPORTS)[number]

/** System emulator with its version and its devices. */
export interface Qemu {
  readonly program: Program
  /** `unpacked`: in the cache. */
  readonly origin: 'installed' | 'unpacked'
  readonly version: string
  readonly devices: ReadonlySet<string>
}

/** Programs that are clients of a vhost-user disk, and the daemon that serves one. */
export interface QemuTools {
  readonly version: string
  readonly img: Program
  readonly io: Program
  readonly storageDaemon: Program
}

const EMULATOR = 'qemu-system-x86_64'
const NBD_SERVER = 'qemu-nbd'
const CLIENT_DRIVER = 'virtio-blk-vhost-user'

/** Returns the device drivers that QEMU lacks for a machine of our devices. */
export function missingDevices(qemu: Qemu, transport: DeviceTransport): string[] {
  const needed = transport === 'vfio-user' ? [VFIO_USER] : Object.values(QemuDeviceDriver)
  return needed.filter((device) => !qemu.devices.has(device))
}

/** Finds all usable QEMU versions, the installed one first. */
export async function findQemus(): Promise<Qemu[]> {
  const unpacked = findUnpackedQemu()
  const found = await Promise.all([
    examine(systemProgram(EMULATOR), 'installed'),
    unpacked && examine(unpacked.program(EMULATOR), 'unpacked'),
  ])
  return found.filter((qemu) => qemu !== undefined)
}

/** Finds a QEMU that supports all our devices. */
export async function findQemu(transport: DeviceTransport): Promise<Qemu | undefined> {
  return (await findQemus()).find((qemu) => missingDevices(qemu, transport).length === 0)
}

/**
 * Returns a QEMU that supports all our devices: the installed one, or else Debian's newest, which is fetched if
 * necessary.
 * @throws {QemuError} if it cannot be fetched or does not support them
 */
export async function prepareQemu(transport: DeviceTransport, options: PrepareOptions = {}): Promise<Qemu> {
  const found = await findQemu(transport)
  if (found) return found
  const unpacked = await unpackQemu(options)
  const qemu = await examine(unpacked.program(EMULATOR), 'unpacked')
  if (!qemu) throw new QemuError('the downloaded QEMU does not start: report this as a bug')
  const missing = missingDevices(qemu, transport)
  if (missing.length > 0) {
    throw new QemuError(`QEMU ${qemu.version}, Debian's newest, lacks ${missing.join(', ')}: report this as a bug`)
  }
  return qemu
}

/** Finds tools that support vhost-user disks. */
export async function findQemuTools(): Promise<QemuTools | undefined> {
  const unpacked = findUnpackedQemu()
  return (await examineTools(systemProgram)) ?? (unpacked && (await examineTools((name) => unpacked.program(name))))
}

/**
 * Returns tools that support vhost-user disks: the installed ones, or else Debian's newest, which are fetched if
 * necessary.
 * @throws {QemuError} if they cannot be fetched or do not support them
 */
export async function prepareQemuTools(options: PrepareOptions = {}): Promise<QemuTools> {
  const found = await findQemuTools()
  if (found) return found
  const unpacked = await unpackQemu(options)
  const tools = await examineTools((name) => unpacked.program(name))
  if (!tools) throw new QemuError(`the downloaded qemu-img has no driver ${CLIENT_DRIVER}: report this as a bug`)
  return tools
}

/** Finds the server of disk images in QEMU's formats. */
export async function findNbdServer(): Promise<Program | undefined> {
  const unpacked = findUnpackedQemu()
  for (const program of [systemProgram(NBD_SERVER), unpacked?.program(NBD_SERVER)]) {
    if (program && (await outputOf(program, ['--version'])) !== undefined) return program
  }
  return undefined
}

/**
 * Fetches the server of disk images, unless it is available.
 * @throws {QemuError} if it cannot be fetched
 */
export async function prepareNbdServer(options: PrepareOptions = {}): Promise<void> {
  if (!(await findNbdServer())) await unpackQemu(options)
}

async function examine(program: Program, origin: Qemu['origin']): Promise<Qemu | undefined> {
  const version = await outputOf(program, ['-version'])
  const listed = version === undefined ? undefined : await outputOf(program, ['-device', 'help'])
  if (version === undefined || listed === undefined) return undefined
  const devices = new Set([...listed.matchAll(/^name "([^"]+)"/gm)].map(([, name]) => name))
  return { program, origin, version: versionIn(version), devices }
}

async function examineTools(find: (name: string) => Program): Promise<QemuTools | undefined> {
  const img = find('qemu-img')
  const help = await outputOf(img, ['--help'])
  const storageDaemon = find('qemu-storage-daemon')
  if (!help?.includes(CLIENT_DRIVER) || (await outputOf(storageDaemon, ['--version'])) === undefined) return undefined
  return { version: versionIn(help), img, io: find('qemu-io'), storageDaemon }
}

/** Returns the output of a program; undefined if it cannot be run or fails. */
async function outputOf(program: Program, args: readonly string[]): Promise<string | undefined> {
  try {
    return await runProgram(program, args)
  } catch (error) {
    if (error instanceof ToolError) return undefined
    throw error
  }
}

function versionIn(text: string): string {
  return /version (\d+(\.\d+)*)/.exec(text)?.[1] ?? 'of unknown version'
}
