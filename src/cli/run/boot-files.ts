import { access, constants } from 'node:fs/promises'
import path from 'node:path'
import { formatByContent } from '../../backends/disk/image-format.ts'
import { withDrivers } from '../../catalogue/guest-images.ts'
import type { Firmware } from '../../engines/qemu/arguments.ts'
import { prepareUefi } from '../../engines/qemu/firmware.ts'
import type { UnpackOptions } from '../../guest-image/debian/unpacked-packages.ts'
import { prepareGuestImage } from '../../guest-image/guest-image.ts'
import { AMD64_RECIPE, I386_RECIPE } from '../../guest-image/recipe.ts'
import { UsageError } from '../../services/usage-error.ts'
import type { DiskOption, RunOptions } from './run-options.ts'

/** Kernel of a guest, with its ramdisk and arguments. */
export interface KernelFiles {
  readonly kernel: string
  readonly initrd?: string
  readonly commandLine: string
}

/** Files from which a machine without firmware boots. */
export interface BootFiles extends KernelFiles {
  readonly bios: string
  readonly vgaBios: string
}

type KernelOptions = Pick<RunOptions, 'kernel' | 'initrd' | 'append' | 'mirror'>
type OnProgress = (step: string, detail: string) => void

/** Folders of SeaBIOS in distributions, for a host that boots its own kernel and may have no apt. */
const FIRMWARE_FOLDERS = ['/usr/share/seabios', '/usr/share/qemu', '/usr/share/qemu-kvm']

/** Returns kernel, ramdisk and firmware: those of the command line, or else the guest image's, fetched if necessary. */
export async function bootFiles(
  options: KernelOptions,
  signal: AbortSignal,
  onProgress: OnProgress,
): Promise<BootFiles> {
  const own = await ownKernel(options)
  const firmware = own && (await installedFirmware())
  if (own && firmware) return { ...own, ...firmware }
  const image = await prepareGuestImage(await withDrivers(I386_RECIPE), {
    mirror: options.mirror,
    signal,
    onProgress: ({ step, done, total }) => onProgress(step, percent(done, total)),
  })
  const { bios, vgaBios } = image
  return { ...(own ?? kernelOf(image, options)), bios, vgaBios }
}

/** Returns kernel and ramdisk for a machine with firmware. */
export async function kernelFiles(
  options: KernelOptions,
  signal: AbortSignal,
  onProgress: OnProgress,
): Promise<KernelFiles> {
  const own = await ownKernel(options)
  if (own) return own
  const image = await prepareGuestImage(await withDrivers(AMD64_RECIPE), {
    mirror: options.mirror,
    signal,
    onProgress: ({ step, done, total }) => onProgress(step, percent(done, total)),
  })
  return kernelOf(image, options)
}

/** The kernel named on the command line, if one is. */
async function ownKernel({ kernel, initrd, append = '' }: KernelOptions): Promise<KernelFiles | undefined> {
  if (initrd !== undefined && kernel === undefined) throw new UsageError('--initrd needs --kernel too')
  if (kernel === undefined) return undefined
  await mustBeReadable('kernel', kernel)
  if (initrd !== undefined) await mustBeReadable('initial ramdisk', initrd)
  return { kernel, ...(initrd !== undefined && { initrd }), commandLine: append }
}

function kernelOf(image: KernelFiles, { append }: KernelOptions): KernelFiles {
  const { kernel, initrd, commandLine } = image
  return {
    kernel,
    ...(initrd !== undefined && { initrd }),
    commandLine: append === undefined ? commandLine : `${commandLine} ${append}`,
  }
}

function percent(done: number, total: number): string {
  return total > 0 ? `${Math.floor((100 * done) / total)}%` : ''
}

/**
 * Finds out about a disk that cannot be used before anything is fetched or started.
 * @param warn takes a line about one whose format may have been forgotten
 */
export async function disksUsable(disks: readonly DiskOption[], warn: (line: string) => void): Promise<void> {
  for (const { path: file, readOnly, format } of disks) {
    await mustBeReadable('disk', file)
    const looksLike = format === undefined ? formatByContent(file) : undefined
    if (looksLike)
      warn(`${file} is taken as raw bytes, and begins like ${looksLike}: ${file},format=${looksLike} if it is that`)
    if (readOnly) continue
    await access(file, constants.W_OK).catch(() => {
      throw new UsageError(`cannot write the disk ${file}: give it as ${file},readonly or change its permissions`)
    })
  }
}

/** The firmware named on the command line, OVMF fetched where it is not there yet. */
export async function chosenFirmware(name: string, options: UnpackOptions): Promise<Firmware> {
  if (name === 'bios') return {}
  if (name === 'uefi') return { file: await prepareUefi(options) }
  await mustBeReadable('firmware', name)
  return { file: name }
}

async function mustBeReadable(what: string, file: string): Promise<void> {
  try {
    await access(file, constants.R_OK)
  } catch {
    throw new UsageError(`cannot read the ${what} ${file}: check the name and its permissions`)
  }
}

async function installedFirmware(): Promise<{ bios: string; vgaBios: string } | undefined> {
  for (const folder of FIRMWARE_FOLDERS) {
    const bios = path.join(folder, 'bios.bin')
    const vgaBios = path.join(folder, 'vgabios-stdvga.bin')
    const found = await Promise.all([bios, vgaBios].map((file) => access(file, constants.R_OK))).then(
      () => true,
      () => false,
    )
    if (found) return { bios, vgaBios }
  }
  return undefined
}
