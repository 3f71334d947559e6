import type { DeviceTransport } from '../../device-process/socket.ts'
import { outputOf, type Program, systemProgram } from '../../guest-image/debian/program.ts'
import { QemuError } from '../../guest-image/debian/qemu-error.ts'
import { findUnpackedQemu, type PrepareOptions, unpackQemu } from '../../guest-image/debian/unpacked-qemu.ts'
import { neededFrontEnds } from './front-ends.ts'

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
const CLIENT_DRIVER = 'virtio-blk-vhost-user'

/** Every QEMU there is, this machine's first. */
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
  const needed = await neededFrontEnds(transport)
  return (await findQemus()).find(({ devices }) => needed.every((name) => devices.has(name)))
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
  if (!qemu) throw new QemuError('the QEMU that was fetched does not start: report it')
  const missing = (await neededFrontEnds(transport)).filter((name) => !qemu.devices.has(name))
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

function versionIn(text: string): string {
  return /version (\d+(\.\d+)*)/.exec(text)?.[1] ?? 'of unknown version'
}
