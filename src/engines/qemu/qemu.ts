import { ToolError } from '../../guest-image/debian/tool.ts'
import { type Program, runProgram, systemProgram } from './program.ts'
import { QemuError } from './qemu-error.ts'
import { findUnpackedQemu, type PrepareOptions, unpackQemu } from './unpacked-qemu.ts'

/** Devices of QEMU through which ours reach a guest, and what each is for. */
export const QemuDeviceDriver = {
  BLOCK: 'vhost-user-blk-pci',
  ENTROPY: 'vhost-user-rng-pci',
  INPUT: 'vhost-user-input-pci',
  GPU: 'vhost-user-gpu-pci',
  /** With a back-end of ours as its peer. */
  NET: 'virtio-net-pci',
  /** Any device, named by its number. It is there from QEMU 11.1 on. */
  ANY: 'vhost-user-test-device-pci',
} as const

/** Takes any PCI function of ours, whole. It is there from QEMU 10.1 on, where that was built with it. */
export const VFIO_USER = 'vfio-user-pci'

/** How the devices of a machine reach QEMU: behind PCI functions of its own, or as PCI functions. */
export const DEVICE_TRANSPORTS = ['vhost-user', 'vfio-user'] as const
export type DeviceTransport = (typeof DEVICE_TRANSPORTS)[number]

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
const NBD_SERVER = 'qemu-nbd'
const CLIENT_DRIVER = 'virtio-blk-vhost-user'

/** What it lacks for a whole machine of our devices. */
export function missingDevices(qemu: Qemu, transport: DeviceTransport): string[] {
  const needed = transport === 'vfio-user' ? [VFIO_USER] : Object.values(QemuDeviceDriver)
  return needed.filter((device) => !qemu.devices.has(device))
}

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
  return (await findQemus()).find((qemu) => missingDevices(qemu, transport).length === 0)
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
  const missing = missingDevices(qemu, transport)
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

/** The server of disk images in QEMU's formats, if it is here. */
export async function findNbdServer(): Promise<Program | undefined> {
  const unpacked = findUnpackedQemu()
  for (const program of [systemProgram(NBD_SERVER), unpacked?.program(NBD_SERVER)]) {
    if (program && (await said(program, ['--version'])) !== undefined) return program
  }
  return undefined
}

/**
 * Sees to it that there is one: fetches it where it is not there yet.
 * @throws {QemuError}
 */
export async function prepareNbdServer(options: PrepareOptions = {}): Promise<void> {
  if (!(await findNbdServer())) await unpackQemu(options)
}

async function examine(program: Program, origin: Qemu['origin']): Promise<Qemu | undefined> {
  const says = await said(program, ['-version'])
  const listed = says === undefined ? undefined : await said(program, ['-device', 'help'])
  if (says === undefined || listed === undefined) return undefined
  const devices = new Set([...listed.matchAll(/^name "([^"]+)"/gm)].map(([, name]) => name))
  return { program, origin, version: versionIn(says), devices }
}

async function examineTools(find: (name: string) => Program): Promise<QemuTools | undefined> {
  const img = find('qemu-img')
  const help = await said(img, ['--help'])
  const storageDaemon = find('qemu-storage-daemon')
  if (!help?.includes(CLIENT_DRIVER) || (await said(storageDaemon, ['--version'])) === undefined) return undefined
  return { version: versionIn(help), img, io: find('qemu-io'), storageDaemon }
}

/** What a program prints; undefined where it cannot be run. */
async function said(program: Program, args: readonly string[]): Promise<string | undefined> {
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
