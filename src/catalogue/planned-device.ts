import type { MachineCommand } from '../machine/messages.ts'
import type { DeviceKind } from './device-kind.ts'
import { loadKind } from './index.ts'
import type { MachineDevice } from './machine-device.ts'
import { type OptionTable, type OptionValues, parseSettings } from './options.ts'

/** Device of a machine with its kind and its checked options. Nothing is opened. */
export interface PlannedDevice extends MachineDevice {
  readonly deviceKind: DeviceKind
  readonly options: OptionValues<OptionTable>
  /** Commands of the machine that it handles. */
  readonly commands: readonly MachineCommand['type'][]
}

/** Loads the kinds of devices, and checks the settings. @throws {UsageError} */
export async function planDevices(devices: readonly MachineDevice[]): Promise<PlannedDevice[]> {
  return await Promise.all(
    devices.map(async (device) => {
      const deviceKind = await loadKind(device.kind)
      const options = parseSettings(deviceKind.options, device.settings)
      return { ...device, deviceKind, options, commands: deviceKind.commands?.(options) ?? [] }
    }),
  )
}
