import type { DeviceHost } from '../../catalogue/device-kind.ts'
import { addPlugins, loadKind } from '../../catalogue/index.ts'
import { type AddedDevice, type MachineDevice, standardDevices } from '../../catalogue/machine-device.ts'
import { openDevice } from '../../catalogue/open-device.ts'
import { parseSettings, type Settings } from '../../catalogue/options.ts'
import type { DeviceInspection } from '../../machine/machine.ts'
import type { MachineCommand } from '../../machine/messages.ts'
import { UsageError } from '../../services/usage-error.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { V86MachineOptions } from './options.ts'

/** Device of a guest in the engine's thread. */
export interface GuestDevice {
  readonly device: VirtioDevice
  readonly panel?: DeviceInspection['panel']
  /** Commands of the machine that it handles. */
  readonly commands: readonly MachineCommand['type'][]
  handle?(command: MachineCommand): void
  inspect?(): Record<string, unknown>
  close?(): Promise<void>
}

/**
 * Opens the devices of a guest.
 * @returns the devices in the order of their slots
 * @throws {UsageError} if a device cannot be opened; the others are closed
 */
export async function openDevices(options: V86MachineOptions, host: DeviceHost): Promise<GuestDevice[]> {
  const { disks = [], blob, devices: more = [], plugins = [] } = options
  await addPlugins(plugins)
  const added = more.filter(isAdded)
  const standard = standardDevices({ disks: disks.map(diskSettings), blob, added })
  const opened: GuestDevice[] = []
  try {
    for (const one of standard) opened.push(await open(one, host))
    for (const one of more) if (typeof one === 'string') opened.push({ device: await importDevice(one), commands: [] })
    return opened
  } catch (error) {
    await closeDevices(opened)
    throw error
  }
}

export async function closeDevices(devices: readonly GuestDevice[]): Promise<void> {
  await Promise.all(devices.map((one) => one.close?.()))
}

async function open({ kind: name, settings }: MachineDevice, host: DeviceHost): Promise<GuestDevice> {
  const kind = await loadKind(name)
  const options = parseSettings(kind.options, settings)
  const { served, close } = await openDevice(kind, options, host)
  // Groups of queues need a reactor, which this thread has not.
  if (!('device' in served)) throw new UsageError(`a device of kind ${name} needs a device process: --engine qemu`)
  return { ...served, panel: kind.panel, commands: kind.commands?.(options) ?? [], close }
}

function isAdded(device: URL | string | AddedDevice): device is AddedDevice {
  return typeof device === 'object' && !(device instanceof URL)
}

function diskSettings({ path, readOnly, logicalBlockSize }: NonNullable<V86MachineOptions['disks']>[number]): Settings {
  return {
    'blk-file': path,
    ...(readOnly && { 'read-only': true }),
    ...(logicalBlockSize !== undefined && { 'logical-block-size': `${logicalBlockSize}` }),
  }
}

/** @throws {TypeError} if the module has no default function */
async function importDevice(module: string): Promise<VirtioDevice> {
  const { default: create } = await import(module)
  if (typeof create !== 'function') throw new TypeError(`${module} must export a function as its default`)
  return await create()
}
