import { fileURLToPath } from 'node:url'
import { kvmMissing } from '../../engines/qemu/accelerator.ts'
import { createQemuMachine } from '../../engines/qemu/machine.ts'
import { prepareQemu } from '../../engines/qemu/qemu.ts'
import { readBootedGuest, removeBootedGuest, saveBootedGuest } from '../../engines/v86/booted-guest.ts'
import { createV86Machine } from '../../engines/v86/machine.ts'
import type { V86MachineOptions } from '../../engines/v86/options.ts'
import { prepareNbdServer } from '../../guest-image/debian/nbd-server.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import type { Machine } from '../../machine/machine.ts'
import { UsageError } from '../../services/usage-error.ts'
import type { Progress } from '../progress.ts'
import { bootFiles, chosenFirmware, kernelFiles } from './boot-files.ts'
import { chooseNetwork } from './guest-network.ts'
import type { DiskOption, RunOptions } from './run-options.ts'
import { readSavedMachine } from './save-machine.ts'

const MAIN = fileURLToPath(new URL('../main.js', import.meta.url))

/** Default and maximum memory of a guest in MiB, by engine. */
const MEMORY = { v86: { usual: 256, most: 2047 }, qemu: { usual: 512, most: 1 << 20 } } as const

/** QEMU translates code again when the guest changes it. It does not see changes by a disk in another process. */
const STALE_CODE =
  'without KVM, a boot loader that loads the next one over itself hangs, such as syslinux; GRUB does not'

/** Machine that was not started yet. */
export interface CreatedMachine {
  readonly machine: Machine
  /** For a machine that only boots once: saves it as soon as it can be used. Machines of `next` start from there. */
  saveBooted?(): Promise<void>
  /** Creates a machine that takes the place of this one, if this one was saved or cannot be started. */
  next?(): Promise<CreatedMachine>
}

/**
 * Creates the machine of a run, and fetches missing files first.
 * @returns undefined if that was aborted
 * @throws {UsageError} for options that do not fit together
 */
export async function createMachine(
  options: RunOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<CreatedMachine | undefined> {
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
  if (options.changedDisks && options.restore === undefined) throw new UsageError('--changed-disks needs --restore')
  const snapshot = options.restore === undefined ? undefined : await readSavedMachine(options.restore)
  const files = await bootFiles(options, signal, (step, detail) => progress.show(step, detail))
  if (signal.aborted) return undefined
  const machine: V86MachineOptions = {
    ...files,
    ...(snapshot ? { snapshot, acceptsChanges: options.changedDisks ?? false } : { memoryMiB }),
    ...(options.memory !== undefined && { memoryMiB }),
    disks: options.disk,
    devices: options.device,
    plugins: options.plugins,
  }
  return isStandard(options) ? await standardMachine(machine) : { machine: createV86Machine(machine) }
}

async function createInQemu(
  options: RunOptions,
  memoryMiB: number,
  signal: AbortSignal,
  progress: Progress,
): Promise<CreatedMachine | undefined> {
  if (options.save !== undefined || options.restore !== undefined) {
    throw new UsageError('--save and --restore need --engine v86: QEMU does not save the devices of other processes')
  }
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
  const machine = createQemuMachine({
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
  return { machine }
}

/** True for the guest image with the standard devices, whose boot is done once. */
function isStandard(options: RunOptions): boolean {
  const { restore, kernel, initrd, append, memory } = options
  const chosen = [restore, kernel, initrd, append, memory]
  const added = [...options.disk, ...options.device, ...options.plugins]
  return chosen.every((one) => one === undefined) && added.length === 0
}

/** Creates the standard machine: from its snapshot, or else so that its boot makes one. */
async function standardMachine(options: V86MachineOptions): Promise<CreatedMachine> {
  const snapshot = await readBootedGuest(options)
  if (!snapshot) {
    const machine = createV86Machine(options)
    return { machine, saveBooted: () => saveBootedGuest(options, machine), next: () => standardMachine(options) }
  }
  return {
    machine: createV86Machine({ ...options, snapshot }),
    async next() {
      await removeBootedGuest(options)
      return await standardMachine(options)
    },
  }
}

/** True if QEMU's tools are needed to read the disk. */
function isImage({ format = 'raw' }: DiskOption): boolean {
  return format !== 'raw'
}
