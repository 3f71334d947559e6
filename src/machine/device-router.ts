import { UsageError } from '../services/usage-error.ts'
import { SCANOUTS_PER_GPU } from './input-event.ts'
import type { MachineCommand, Report } from './messages.ts'

/** Device of a machine. */
export interface RoutedDevice {
  /** Name within the machine: `keyboard`. */
  readonly id: string
  /** Commands that it handles. */
  readonly commands: readonly MachineCommand['type'][]
}

/** Command as its device expects it. */
export interface RoutedCommand<Device> {
  readonly device: Device
  readonly command: MachineCommand
}

/**
 * Routes of commands and reports between a machine and its devices.
 *
 * - A command about a screen goes to the GPU that has the scanout. The machine numbers the scanouts of all GPUs: those
 *   of the second one begin with `SCANOUTS_PER_GPU`. Each GPU has its own numbers, from 0.
 * - A command with the id of a device goes to that device. Any other one goes to the first device that handles it.
 *
 *     router.route({ type: 'resize', scanout: 17, width: 640, height: 480 })   // the second GPU, scanout 1
 */
export class DeviceRouter<Device extends RoutedDevice> {
  readonly #devices: readonly Device[]
  readonly #gpus: readonly Device[]

  /** @throws {UsageError} if two devices would share the terminal */
  constructor(devices: readonly Device[]) {
    const handling = (command: MachineCommand['type']) => devices.filter(({ commands }) => commands.includes(command))
    this.#devices = devices
    this.#gpus = handling('read-pixels')
    const consoles = handling('terminal').length
    if (consoles > 1) throw new UsageError(`a machine has one terminal, and so one console device (${consoles} given)`)
  }

  /** @returns undefined if there is no such device */
  route(command: MachineCommand): RoutedCommand<Device> | undefined {
    switch (command.type) {
      case 'resize':
      case 'damage-taken':
      case 'read-in-place':
      case 'read-pixels': {
        const device = this.#gpus[Math.floor(command.scanout / SCANOUTS_PER_GPU)]
        return device && { device, command: { ...command, scanout: command.scanout % SCANOUTS_PER_GPU } }
      }
      default: {
        const device = this.#find(command.type, 'device' in command ? command.device : undefined)
        return device && { device, command }
      }
    }
  }

  /** Returns a report of a device as the machine expects it. */
  report(device: Device, report: Report): Report {
    switch (report.type) {
      case 'mode':
      case 'damage':
      case 'cursor':
        return { ...report, scanout: report.scanout + this.#gpus.indexOf(device) * SCANOUTS_PER_GPU }
      case 'led':
        return device === this.#find('key') ? report : { ...report, device: device.id }
      default:
        return report
    }
  }

  #find(type: MachineCommand['type'], id?: string): Device | undefined {
    return this.#devices.find((one) => one.commands.includes(type) && (id === undefined || one.id === id))
  }
}
