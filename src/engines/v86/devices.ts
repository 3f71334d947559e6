import type { DeviceHost } from '../../catalogue/device-kind.ts'
import { addPlugins } from '../../catalogue/index.ts'
import { type AddedDevice, standardDevices } from '../../catalogue/machine-device.ts'
import { openDevice } from '../../catalogue/open-device.ts'
import type { Settings } from '../../catalogue/options.ts'
import { type PlannedDevice, planDevices } from '../../catalogue/planned-device.ts'
import type { DeviceInspection } from '../../machine/machine.ts'
import type { MachineCommand } from '../../machine/messages.ts'
import { UsageError } from '../../services/usage-error.ts'
import type { SavedState } from '../../snapshot/saved-state.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { V86MachineOptions } from './options.ts'

/** Device of a guest in the engine's thread. */
export interface GuestDevice {
  /** Name within the machine. */
  readonly id: string
  readonly device: VirtioDevice
  readonly panel?: DeviceInspection['panel']
  handle?(command: MachineCommand): void
  inspect?(): Record<string, unknown>
  /** @see ServedDevice.save */
  save?(): SavedState
  restore?(state: SavedState): void
  resumed?(): void
  close?(): Promise<void>
}

/** Returns the devices of a guest in the order of their slots, without those of modules. @throws {UsageError} */
export async function planGuestDevices(options: V86MachineOptions): Promise<PlannedDevice[]> {
  const { disks = [], blob, devices = [], plugins = [] } = options
  await addPlugins(plugins)
  return await planDevices(standardDevices({ disks: disks.map(diskSettings), blob, added: devices.filter(isAdded) }))
}

/**
 * Opens the devices of a guest.
 * @param hostOf returns the host of a device
 * @param modules modules that create a device each
 * @throws {UsageError} if a device cannot be opened; the others are closed
 */
export async function openDevices(
  planned: readonly PlannedDevice[],
  hostOf: (device: PlannedDevice) => DeviceHost,
  modules: readonly string[],
): Promise<GuestDevice[]> {
  const opened: GuestDevice[] = []
  try {
    for (const device of planned) opened.push(await open(device, hostOf(device)))
    for (const module of modules) opened.push({ id: module, device: await importDevice(module) })
    return opened
  } catch (error) {
    await closeDevices(opened)
    throw error
  }
}

export async function closeDevices(devices: readonly GuestDevice[]): Promise<void> {
  await Promise.all(devices.map((one) => one.close?.()))
}

async function open({ id, deviceKind: kind, options }: PlannedDevice, host: DeviceHost): Promise<GuestDevice> {
  const { served, close } = await openDevice(kind, options, host)
  // Groups of queues need a reactor, which this thread has not.
  if (!('device' in served)) throw new UsageError(`a device of kind ${kind.name} needs a device process: --engine qemu`)
  return { ...served, id, panel: kind.panel, close }
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
