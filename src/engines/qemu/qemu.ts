import type { DeviceTransport } from '../../device-process/socket.ts'
import { outputOf, type Program, systemProgram } from '../../guest-image/debian/program.ts'
import { QemuError } from '../../guest-image/debian/qemu-error.ts'
import { findUnpackedQemu, type PrepareOptions, unpackQemu } from '../../guest-image/debian/unpacked-qemu.ts'
import { neededFrontEnds } from './front-ends.ts'

/** The system emulator: its version, and which of its devices there are. */
export interface Qemu {
  readonly program: Program
  /** Of this machine, or unpacked in the cache. */
  readonly origin: 'installed' | 'unpacked'
  readonly version: string
  readonly devices: ReadonlySet<string>
}

/** Programs that are clients of a vhost-user disk, and the one that serves such a disk. */
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

/** A QEMU for whole machines, if one is here. */
export async function findQemu(transport: DeviceTransport): Promise<Qemu | undefined> {
  const needed = await neededFrontEnds(transport)
  return (await findQemus()).find(({ devices }) => needed.every((name) => devices.has(name)))
}

/**
 * A QEMU for whole machines: this machine's, or else Debian's newest, fetched where it is not there yet.
 * @throws {QemuError}
 */
export async function prepareQemu(transport: DeviceTransport, options: PrepareOptions = {}): Promise<Qemu> {
  const found = await findQemu(transport)
  if (found) return found
  const unpacked = await unpackQemu(options)
  const qemu = await examine(unpacked.program(EMULATOR), 'unpacked')
  if (!qemu) throw new QemuError('the QEMU that was fetched does not start: report it')
  const missing = (await neededFrontEnds(transport)).filter((name) => !qemu.devices.has(name))
  if (missing.length > 0) {
    throw new QemuError(`QEMU ${qemu.version}, the newest of Debian, has no ${missing.join(', no ')}: report it`)
  }
  return qemu
}

/** The tools, if they are here and reach a vhost-user disk. */
export async function findQemuTools(): Promise<QemuTools | undefined> {
  const unpacked = findUnpackedQemu()
  return (await examineTools(systemProgram)) ?? (unpacked && (await examineTools((name) => unpacked.program(name))))
}

/**
 * The tools: this machine's, or else Debian's newest, fetched where they are not there yet.
 * @throws {QemuError}
 */
export async function prepareQemuTools(options: PrepareOptions = {}): Promise<QemuTools> {
  const found = await findQemuTools()
  if (found) return found
  const unpacked = await unpackQemu(options)
  const tools = await examineTools((name) => unpacked.program(name))
  if (!tools) throw new QemuError(`the qemu-img that was fetched has no driver ${CLIENT_DRIVER}: report it`)
  return tools
}

async function examine(program: Program, origin: Qemu['origin']): Promise<Qemu | undefined> {
  const says = await outputOf(program, ['-version'])
  const listed = says === undefined ? undefined : await outputOf(program, ['-device', 'help'])
  if (says === undefined || listed === undefined) return undefined
  const devices = new Set([...listed.matchAll(/^name "([^"]+)"/gm)].map(([, name]) => name))
  return { program, origin, version: versionIn(says), devices }
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
