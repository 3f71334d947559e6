import { fileURLToPath } from 'node:url'
import { kvmMissing } from '../../engines/qemu/accelerator.ts'
import { createQemuMachine } from '../../engines/qemu/machine.ts'
import { prepareQemu } from '../../engines/qemu/qemu.ts'
import { createV86Machine } from '../../engines/v86/machine.ts'
import { prepareNbdServer } from '../../guest-image/debian/nbd-server.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import type { Machine } from '../../machine/machine.ts'
import { UsageError } from '../../services/usage-error.ts'
import type { Progress } from '../progress.ts'
import { bootFiles, chosenFirmware, kernelFiles } from './boot-files.ts'
import { chooseNetwork } from './guest-network.ts'
import type { DiskOption, RunOptions } from './run-options.ts'

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url))

/** Default and maximum memory of a guest in MiB, by engine. */
const MEMORY = { v86: { usual: 256, most: 2047 }, qemu: { usual: 512, most: 1 << 20 } } as const

/** The emulator keeps what it made of code until the guest itself changes that; a disk in another process changes it unseen. */
const STALE_CODE =
  'without KVM, a boot loader that has the next one loaded over itself hangs, as that of syslinux does; GRUB does not'

/**
 * Makes the guest that was asked for, and fetches first what it needs and is not there.
 * @returns undefined where that was aborted
 */
export async function createMachine(
  options: RunOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<Machine | undefined> {
  const { usual, most } = MEMORY[options.engine]
  const memoryMiB = options.memory ?? usual
  if (memoryMiB > most) throw new UsageError(`--memory: ${options.engine} takes at most ${most} MiB`)
  if (options.engine === 'qemu') return await createInQemu(options, memoryMiB, signal, progress)
  if (options.transport !== undefined) throw new UsageError('--transport needs --engine qemu')
  if (options.boot === 'disk') throw new UsageError('--boot disk needs --engine qemu')
  if (options.firmware !== undefined) throw new UsageError('--firmware needs --engine qemu')
  const image = options.disk.find(isImage)
  if (image) {
    const asRaw = `${image.path},format=raw, if it is raw all the same`
    throw new UsageError(`--disk ${image.path} (${image.format}) needs --engine qemu; or give it as ${asRaw}`)
  }
  if (options.net !== undefined && options.net.kind !== 'none') throw new UsageError('--net needs --engine qemu')
  const { disk: disks } = options
  const files = await bootFiles(options, signal, (step, detail) => progress.show(step, detail))
  return signal.aborted
    ? undefined
    : createV86Machine({ ...files, memoryMiB, disks, devices: options.device, plugins: options.plugins })
}

async function createInQemu(
  options: RunOptions,
  memoryMiB: number,
  signal: AbortSignal,
  progress: Progress,
): Promise<Machine | undefined> {
  const missing = ffiMissing()
  if (missing !== undefined) throw new UsageError(`--engine qemu needs device processes: ${missing}`)
  if (options.boot === 'disk' && options.disk.length === 0) throw new UsageError('--boot disk needs a --disk')
  const network = await chooseNetwork(options.net, (line) => progress.line(line))
  const onProgress = (step: string, detail: string): void => progress.show(step, detail)
  const preparing = {
    mirror: options.mirror,
    signal,
    onProgress: (step: string, part?: number) =>
      onProgress(step, part === undefined ? '' : `${Math.floor(100 * part)}%`),
  }
  const firmware = options.firmware === undefined ? undefined : await chosenFirmware(options.firmware, preparing)
  const boot = options.boot === 'kernel' ? await kernelFiles(options, signal, onProgress) : undefined
  const { transport = 'vhost-user' } = options
  const { program } = await prepareQemu(transport, preparing)
  if (options.disk.some(isImage)) await prepareNbdServer(preparing)
  const accelerator = (await kvmMissing(program)) === undefined ? 'kvm' : 'tcg'
  if (accelerator === 'tcg' && options.boot === 'disk') progress.line(STALE_CODE)
  if (signal.aborted) return undefined
  return createQemuMachine({
    qemu: program,
    accelerator,
    memoryMiB,
    transport,
    ...(boot && { boot }),
    ...(firmware && { firmware, serialTerminal: options.exec === undefined }),
    ...(network && { network }),
    disks: options.disk,
    devices: options.device,
    deviceProgram: {
      command: process.execPath,
      args: [MAIN, ...options.plugins.map((url) => `--plugin=${fileURLToPath(url)}`), 'device'],
    },
  })
}

/** Whether QEMU's tools are needed to read it. */
function isImage({ format = 'raw' }: DiskOption): boolean {
  return format !== 'raw'
}
