import { access, constants } from 'node:fs/promises'
import path from 'node:path'
import { prepareKit } from '../engines/kit/kit.ts'
import { I386_KIT } from '../engines/kit/recipe.ts'
import { UsageError } from './exit-code.ts'
import type { DiskOption, RunOptions } from './run-options.ts'

/** The files a guest boots from. */
export interface BootFiles {
  readonly kernel: string
  readonly initrd?: string
  readonly bios: string
  readonly vgaBios: string
  readonly commandLine: string
}

/** Where distributions put SeaBIOS, for a machine that boots its own kernel and may have no apt to fetch one. */
const FIRMWARE_FOLDERS = ['/usr/share/seabios', '/usr/share/qemu', '/usr/share/qemu-kvm']

/** Kernel, ramdisk and firmware: those named on the command line, or the guest kit's, fetched where they are not there yet. */
export async function bootFiles(
  options: Pick<RunOptions, 'kernel' | 'initrd' | 'append'>,
  signal: AbortSignal,
  onProgress: (step: string, detail: string) => void,
): Promise<BootFiles> {
  const { kernel, initrd, append } = options
  if (initrd !== undefined && kernel === undefined) throw new UsageError('--initrd needs --kernel too')
  if (kernel !== undefined) await mustBeReadable('kernel', kernel)
  if (initrd !== undefined) await mustBeReadable('initial ramdisk', initrd)
  const firmware = kernel === undefined ? undefined : await installedFirmware()
  if (kernel !== undefined && firmware) {
    return { kernel, ...(initrd !== undefined && { initrd }), ...firmware, commandLine: append ?? '' }
  }
  const kit = await prepareKit(I386_KIT, {
    signal,
    onProgress: ({ step, done, total }) => onProgress(step, total > 0 ? `${Math.floor((100 * done) / total)}%` : ''),
  })
  const { bios, vgaBios } = kit
  if (kernel !== undefined) {
    return { kernel, ...(initrd !== undefined && { initrd }), bios, vgaBios, commandLine: append ?? '' }
  }
  const commandLine = append === undefined ? kit.commandLine : `${kit.commandLine} ${append}`
  return { kernel: kit.kernel, initrd: kit.initrd, bios, vgaBios, commandLine }
}

/** Finds out about a disk that cannot be used before anything is fetched or started. */
export async function disksUsable(disks: readonly DiskOption[]): Promise<void> {
  for (const { path: file, readOnly } of disks) {
    await mustBeReadable('disk', file)
    if (readOnly) continue
    await access(file, constants.W_OK).catch(() => {
      throw new UsageError(`cannot write the disk ${file}: give it as ${file},readonly or change its permissions`)
    })
  }
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
