import { constants, existsSync } from 'node:fs'
import { access } from 'node:fs/promises'
import path from 'node:path'
import { PASST_MISSING, PasstProcess } from '../../backends/net/passt-process.ts'
import { TUN_DEVICE, tunRefused } from '../../backends/net/tap-interface.ts'
import { withDrivers } from '../../catalogue/guest-images.ts'
import { DEVICE_TRANSPORTS, type DeviceTransport } from '../../device-process/socket.ts'
import { kvmMissing } from '../../engines/qemu/accelerator.ts'
import { knownFrontEnds, neededFrontEnds } from '../../engines/qemu/front-ends.ts'
import { findQemus, findQemuTools, type Qemu } from '../../engines/qemu/qemu.ts'
import { debianSource } from '../../guest-image/debian/apt.ts'
import { AptError } from '../../guest-image/debian/apt-error.ts'
import { cacheFolder } from '../../guest-image/debian/cache-folder.ts'
import { withRemedy } from '../../guest-image/debian/explained.ts'
import { findGuestImage } from '../../guest-image/guest-image.ts'
import { AMD64_RECIPE, I386_RECIPE } from '../../guest-image/recipe.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { uringRefused } from '../../host/linux/reactor/create-reactor.ts'

/** `ok`: available; `limited`: a fallback is used; `missing`: the feature does not work. */
export const Level = { OK: 'ok', LIMITED: 'limited', MISSING: 'missing' } as const
export type Level = (typeof Level)[keyof typeof Level]

/** Result of one check of this machine. */
export interface Check {
  /** Name for scripts, which never changes. */
  readonly id: string
  readonly level: Level
  /** Result as a sentence. */
  readonly summary: string
  /** Action that improves the result. */
  readonly remedy?: string
  /** Front-ends of a QEMU, and whether it has them. */
  readonly transports?: Readonly<Record<string, boolean>>
}

/** The oldest Node that works. */
const NODE = [20, 19] as const

/** Checks everything that the project can use on this machine. Fetches, creates and changes nothing. */
export async function examineMachine(): Promise<Check[]> {
  // A search that fails found none.
  const qemus = await findQemus().catch(() => [])
  const found = await Promise.all([
    node(),
    systemCalls(),
    attempt('io_uring', ioUring),
    deviceFile(
      'udmabuf',
      '/dev/udmabuf',
      'programs of this host map the guest’s buffers, and its devices cannot import them',
    ),
    attempt('apt', apt),
    attempt('cache', cache),
    image('guest-image-i386', await withDrivers(I386_RECIPE), 'v86'),
    image('guest-image-amd64', await withDrivers(AMD64_RECIPE), 'QEMU'),
    attempt('kvm', () => kvm(qemus)),
    attempt('tap', tap),
    attempt('passt', passt),
    attempt('qemu-tools', clients),
  ])
  return [
    ...found,
    ...(qemus.length > 0 ? await Promise.all(qemus.map((qemu) => qemuFinding(qemu, qemus))) : [noQemu()]),
  ]
}

/** Performs a check. If it fails, that is its result, and the other checks continue. */
async function attempt(id: string, examine: () => Check | Promise<Check>): Promise<Check> {
  try {
    return await examine()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { id, level: Level.LIMITED, summary: `${id} cannot be examined: ${reason}` }
  }
}

function node(): Check {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const isNew = major > NODE[0] || (major === NODE[0] && minor >= NODE[1])
  const summary = `Node ${process.versions.node}`
  if (isNew) return { id: 'node', level: Level.OK, summary }
  return { id: 'node', level: Level.MISSING, summary, remedy: `install Node ${NODE.join('.')} or newer` }
}

function systemCalls(): Check {
  const missing = ffiMissing()
  if (missing === undefined) return { id: 'system-calls', level: Level.OK, summary: 'system calls, through koffi' }
  return {
    id: 'system-calls',
    level: Level.MISSING,
    summary: `no system calls, so no device processes: ${missing}`,
    remedy: 'use 64-bit Linux, and run npm ci',
  }
}

function ioUring(): Check {
  const refused = ffiMissing() ?? uringRefused()
  if (refused === undefined) return { id: 'io_uring', level: Level.OK, summary: 'io_uring' }
  return { id: 'io_uring', level: Level.LIMITED, summary: `epoll and a system call for each request: ${refused}` }
}

async function apt(): Promise<Check> {
  try {
    await debianSource()
    return { id: 'apt', level: Level.OK, summary: 'apt knows a source of Debian packages' }
  } catch (error) {
    if (!(error instanceof AptError)) throw error
    return {
      id: 'apt',
      level: Level.LIMITED,
      summary: `kernels and QEMU cannot be fetched: ${error.what}`,
      remedy: error.remedy,
    }
  }
}

/** Checks the cache folder. If it is missing, it can be created in the nearest existing folder above it. */
async function cache(): Promise<Check> {
  const id = 'cache'
  try {
    const folder = cacheFolder()
    let there = folder
    while (!existsSync(there)) there = path.dirname(there)
    await access(there, constants.W_OK | constants.X_OK)
    return { id, level: Level.OK, summary: `kernels and QEMU are kept in ${folder}` }
  } catch (error) {
    const { what, remedy } = (await withRemedy(error)) as AptError
    return { id, level: Level.LIMITED, summary: `kernels and QEMU cannot be kept: ${what}`, remedy }
  }
}

function image(id: string, recipe: Parameters<typeof findGuestImage>[0], engine: string): Check {
  const { architecture, suite } = recipe
  if (findGuestImage(recipe))
    return { id, level: Level.OK, summary: `guest image for ${engine}: ${architecture}, Debian ${suite}` }
  return { id, level: Level.LIMITED, summary: `no guest image for ${engine} yet: the first run fetches it, with apt` }
}

async function kvm(qemus: readonly Qemu[]): Promise<Check> {
  const [qemu] = qemus
  const missing = qemu ? await kvmMissing(qemu.program) : 'without QEMU it cannot be tried'
  if (missing === undefined) return { id: 'kvm', level: Level.OK, summary: 'KVM runs a guest' }
  return { id: 'kvm', level: Level.LIMITED, summary: `guests are emulated (TCG), which is slow: ${missing}` }
}

async function deviceFile(id: string, file: string, without: string): Promise<Check> {
  try {
    await access(file, constants.R_OK)
    return { id, level: Level.OK, summary: `${file} can be opened` }
  } catch (error) {
    const denied = error instanceof Error && 'code' in error && error.code === 'EACCES'
    return {
      id,
      level: Level.LIMITED,
      summary: `${without}: ${denied ? `${file} cannot be opened by this user` : `there is no ${file}`}`,
      remedy: denied ? `ask for access to ${file}` : `load the kernel module ${path.basename(file)}`,
    }
  }
}

/** Checks TAP interfaces. An owner opens an existing one; only root creates one. */
function tap(): Check {
  const refused = tunRefused()
  if (refused === undefined) {
    return { id: 'tap', level: Level.OK, summary: `${TUN_DEVICE} can be opened: a guest can have a TAP interface` }
  }
  return {
    id: 'tap',
    level: Level.LIMITED,
    summary: `no network through a TAP interface: ${refused}`,
    remedy: `load the kernel module tun, and let this user, or this container, open ${TUN_DEVICE}`,
  }
}

async function passt(): Promise<Check> {
  const refused = await PasstProcess.refused()
  if (refused === undefined) {
    return { id: 'passt', level: Level.OK, summary: 'passt connects a guest to the network without root' }
  }
  return {
    id: 'passt',
    level: Level.LIMITED,
    summary: `no network for a guest without root: ${refused}`,
    ...(refused === PASST_MISSING && { remedy: 'apt-get install passt' }),
  }
}

async function clients(): Promise<Check> {
  const tools = await findQemuTools()
  const id = 'qemu-tools'
  if (tools) return { id, level: Level.OK, summary: `qemu-img ${tools.version} reads a vhost-user disk` }
  return {
    id,
    level: Level.LIMITED,
    summary: 'no qemu-img that reads a vhost-user disk: tests and benchmarks fetch one, with apt',
    remedy: 'on Debian 13 or newer: apt-get install qemu-utils qemu-block-extra',
  }
}

function noQemu(): Check {
  return {
    id: 'qemu',
    level: Level.LIMITED,
    summary: 'no QEMU yet: the first run with --engine qemu fetches one, with apt',
    remedy: 'to use an installed one: install QEMU 11.1 or newer',
  }
}

/** @param qemus in the order of preference: the first usable one is used */
async function qemuFinding(qemu: Qemu, qemus: readonly Qemu[]): Promise<Check> {
  const names = await knownFrontEnds()
  const transports = Object.fromEntries(names.map((name) => [name, qemu.devices.has(name)]))
  const uses = await Promise.all(DEVICE_TRANSPORTS.map((transport) => useOf(qemu, transport, qemus)))
  return {
    id: `qemu-${qemu.origin}`,
    level: uses.every(({ serves }) => serves) ? Level.OK : Level.LIMITED,
    summary: `QEMU ${qemu.version}, ${qemu.origin}: ${uses.map(({ says }) => says).join('; ')}`,
    transports,
  }
}

interface QemuUse {
  /** It has all devices that machines need. */
  readonly serves: boolean
  readonly says: string
}

function missingOf({ devices }: Qemu, needed: readonly string[]): string[] {
  return needed.filter((name) => !devices.has(name))
}

/** Describes whether machines use this QEMU with a transport. */
async function useOf(qemu: Qemu, transport: DeviceTransport, qemus: readonly Qemu[]): Promise<QemuUse> {
  const needed = await neededFrontEnds(transport)
  const missing = missingOf(qemu, needed)
  if (missing.length > 0)
    return { serves: false, says: `not for ${transport}, since it has no ${missing.join(', no ')}` }
  const taken = qemus.find((other) => missingOf(other, needed).length === 0)
  return { serves: true, says: `${taken === qemu ? 'taken' : `the ${taken?.origin} one is taken`} for ${transport}` }
}
